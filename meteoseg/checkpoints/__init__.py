"""Reference points of a section: drawn at random per class, labelled by a person, read back."""
