"""Sources: what streams are read from."""
