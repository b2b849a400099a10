"""The cmpirun command: turns options into a plan, starts one mpiexec for it, and supervises the job."""
