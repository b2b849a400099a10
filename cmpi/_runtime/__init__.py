"""Processes, threads and clocks: the shells around the machines of `_core`."""
