"""What the kernel is asked for: descendants, cgroups, memory use, facts of a host, leftover files."""
