"""Destinations: where streams are written."""
