"""SPMD with mpi4py's collectives, the same under cmpirun and mpiexec.

    cmpirun -n 4 python hello.py

Each rank says hello; rank 0 prints the sum over all ranks.
"""

from mpi4py import MPI

world = MPI.COMM_WORLD
print(f"hello from rank {world.rank} of {world.size}")
total = world.reduce(world.rank, op=MPI.SUM)
if world.rank == 0:
    print(f"the ranks add up to {total}")
