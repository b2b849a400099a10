"""Slurm's batch jobs: what Slurm says of them, and how to ask. Pure."""
