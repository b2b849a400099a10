"""MPI's own launcher: which one is here, its command line, starting and watching it."""
