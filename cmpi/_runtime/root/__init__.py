"""Code that runs once per job: the root with its spawn completer, and their counterparts on other hosts."""
