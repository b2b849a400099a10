"""Bytes from process to process."""
