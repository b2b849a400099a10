"""Sinks: what streams are reduced to, in each split, then over all splits."""
