"""Destinations: what streams are written to."""
