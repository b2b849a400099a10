"""Runs in fabric agents: the ranks, one on each host, that carry connections between hosts through MPI."""
