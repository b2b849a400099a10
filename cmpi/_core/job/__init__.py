"""What the root of a job decides: placement, spawning, connections, ends, output, deadlocks. Pure."""
