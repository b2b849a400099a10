"""Moves bytes between processes: rings, MPI, sockets, doorbells, pickling."""
