"""Predicted label images against true ones."""
