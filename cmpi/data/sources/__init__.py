"""Sources: where streams are read from."""
