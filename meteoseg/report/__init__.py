"""What a person reads: console tables, figures and the self-contained HTML page of a section."""
