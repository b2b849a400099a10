"""Decisions only: no I/O, no clock, no threads. Stdlib data types in and out."""
