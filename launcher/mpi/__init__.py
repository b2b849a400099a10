"""MPI's own launcher: find it, build its command line, start it and watch it."""
