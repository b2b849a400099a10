"""Uses of the Linux kernel: descendants, cgroups, memory use, facts about a host, leftover files."""
