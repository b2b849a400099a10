"""Sinks: reduce the rows of each split, and then of all splits."""
