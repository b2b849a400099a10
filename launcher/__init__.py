"""The cmpirun command: options to a plan, the plan to one mpiexec, and its supervision."""
