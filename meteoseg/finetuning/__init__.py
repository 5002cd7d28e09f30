"""A shipped network learns from sections that a user has labelled."""
