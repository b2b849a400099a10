"""Decisions of the fabric agents, which carry connections between hosts through MPI."""
