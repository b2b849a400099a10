"""The cmpirun command: turns options into a plan, starts mpiexec for it, and supervises the job."""
