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


def test_a_deployments_ranks_and_spawned_processes_run_on_all_hosts_of_the_job(on_hosts, jobs):
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


WAITS = """\
import os, sys, time
print("up on", os.uname().nodename, flush=True)
if "stay" in sys.argv:
    time.sleep(600)
"""


def test_losing_a_host_ends_its_deployments_and_the_host_can_come_back(on_hosts, jobs):
    name, script = "lab-that-loses", jobs.script(WAITS, "waits.py")
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", name, "--output", "plain")
    here = on_hosts.start(*there, "python", script, "stay")
    assert here.stdout.readline() == b"up on h1\n"
    both = on_hosts.start(*there, "-n", "4", "python", script, "stay")
    assert sorted(both.stdout.readline() for _ in range(4)) == [b"up on h1\n"] * 2 + [b"up on h2\n"] * 2
    on_hosts.hosts.power_off("h2")
    _, err = both.communicate(timeout=60)
    assert both.returncode == 137 and b"host lost: h2" in err, err
    on_hosts.hosts.restore("h2")
    read_until(job.stderr, "host h2 is back")
    again = on_hosts.run(*there, "-n", "4", "python", script, timeout=60)
    assert again.code == 0 and sorted(again.out.split()[2::3]) == ["h1", "h1", "h2", "h2"], again
    assert here.poll() is None, "it was not on the host that was lost"
    stopped = on_hosts.run("--stop", name)
    assert stopped.code == 0 and job.wait(60) == here.wait(60) == 128 + signal.SIGTERM


def test_programs_can_be_deployed_into_a_standing_slurm_job_through_ssh(slurm_on_hosts, on_hosts, jobs):
    name, script = "lab-in-slurm", jobs.script(PROGRAM)
    options = ("--slurm", "-N", "2", "-n", "4", "--time", "2:00")
    job = on_hosts.start(*options, "--serve", "--name", name)
    where = read_until(job.stdout, rf"the job (\w+:{name}) is up")[1]
    ran = on_hosts.run("--in", where, "--output", "plain", "-n", "4", "python", script, timeout=60)
    assert ran.code == 0 and len(ran.out.splitlines()) == 5, ran
    assert {each.split()[1] for each in ran.out.splitlines()[:4]} == {"h1", "h2"}, ran
    assert on_hosts.run("--stop", where).code == 0
    _, err = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, err
