"""Benchmarks: `python -m cmpi.bench startup|spawn|output`, each compared with its yardstick in one run."""
