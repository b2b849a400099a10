"""Benchmarks: `python -m cmpi.bench startup|spawn|output`, each against its yardstick in one run."""
