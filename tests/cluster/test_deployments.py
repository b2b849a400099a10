"""A program that is deployed into a job on several hosts."""

import signal

from tests.mpi.test_guests import read_until

PROGRAM = """\
import os
from mpi4py import MPI
import cmpi

def where(parent):
    return os.uname().nodename

if __name__ == "__main__":
    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank)
    print(world.rank, os.uname().nodename, total, cmpi.world()[world.rank] == cmpi.pid(), flush=True)
    if world.rank == 0:
        child = cmpi.spawn(where, result=True, resources=cmpi.Resources(host="h2"))
        print("spawned on", cmpi.result(child), flush=True)
"""


def test_its_ranks_and_what_they_spawn_are_on_all_hosts_of_the_job(on_hosts, jobs):
    name, script = "lab-of-hosts", jobs.script(PROGRAM)
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", name, "--output", "plain")
    spread = on_hosts.run(*there, "-n", "4", "python", script, timeout=60)
    lines = sorted(spread.out.splitlines())
    assert lines == ["0 h1 6 True", "1 h1 6 True", "2 h2 6 True", "3 h2 6 True", "spawned on h2"], spread
    failed = on_hosts.run(*there, "-n", "3", "sh", "-c", "exit 5", timeout=60)
    assert spread.code == 0 and failed.code == 5, (spread, failed)
    stopped = on_hosts.run("--stop", name)
    assert stopped.code == 0 and job.wait(60) == 128 + signal.SIGTERM
