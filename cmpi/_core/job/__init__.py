"""Decisions of a job's root: placement, spawning, connections, ends, output, deadlocks. Pure."""
