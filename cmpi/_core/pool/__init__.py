"""Decisions of a process pool: queue, prefetch, chunks, retries, deaths, size. Pure."""
