"""Slurm's batch jobs: reads Slurm's answers, and decides when to ask. Pure."""
