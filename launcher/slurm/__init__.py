"""Batch jobs: the sbatch script, Slurm's commands, following a job."""
