"""The version of meteoseg, kept here alone."""

__version__ = "0.1.0"
