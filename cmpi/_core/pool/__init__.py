"""What a process pool decides: queue, prefetch, chunks, retries, deaths, size. Pure."""
