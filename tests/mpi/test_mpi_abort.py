"""MPI_Abort ends its world with the given code; the rest of the job goes on, and no output is lost."""

RANKS = """
from mpi4py import MPI
world = MPI.COMM_WORLD
print("output of", world.rank, flush=True)
world.barrier()
if world.rank == 1: world.Abort(7)
world.recv(source=1)
"""
GROUP = """
import cmpi
def member(parent):
    from mpi4py import MPI
    if MPI.COMM_WORLD.rank == 1: MPI.COMM_WORLD.Abort(9)
    MPI.COMM_WORLD.recv(source=1)
if __name__ == "__main__":
    statuses = [cmpi.wait(pid, timeout=25) for pid in cmpi.spawn_group(2, member)]
    print(statuses[1].code, "ended with rank 1" in str(statuses[0]))
    print("the parent spawns on", cmpi.wait(cmpi.spawn(lambda parent: None)).ok)
"""


def test_abort_in_a_world_ends_the_job_by_its_code_and_loses_no_output(job):
    result = job(RANKS, options=("-n", "2"))
    assert result.code == 7 and "rank 1 failed: exit code 7" in result.err, result
    assert sorted(result.out.splitlines()) == ["output of 0", "output of 1"], result


def test_abort_in_a_group_ends_the_group_alone(job):
    result = job(GROUP)
    assert result.out == "9 True\nthe parent spawns on True\n" and result.code == 0, result
