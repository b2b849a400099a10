"""The programs that benchmarks run under cmpirun."""
