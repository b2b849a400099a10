"""Slurm batch jobs: writes the sbatch script, runs Slurm's commands, follows a job."""
