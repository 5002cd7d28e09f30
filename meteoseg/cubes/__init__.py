"""What is made from a spectrum cube beside a section: files of maps and components, mean spectra of a result."""
