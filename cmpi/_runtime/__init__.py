"""Processes, threads and clocks: the code that carries out the decisions of `_core`."""
