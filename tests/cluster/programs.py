"""Programs, and helpers of tests, for jobs on three hosts; cmpirun runs on the first (see hosts.py)."""

HOSTS = ("h1", "h2", "h3")


THREE = ("--host", "h1:2,h2:2,h3:2", "--output", "plain")


WORLD = """\
import os, sys
import cmpi
from mpi4py import MPI
world = MPI.COMM_WORLD
names = world.gather(os.uname().nodename)
total = world.allreduce(world.rank)
if world.rank == 0:
    print(*names, total, len(set(cmpi.world())))
"""


PRELUDE = """\
import os, signal, sys, time
import numpy as np
import cmpi
from cmpi import PeerExited, Receiver, Resources, Sender
cmpi.init()
here = os.uname().nodename
whole = Resources(cpus=1)
HOSTS = ("h1", "h2", "h3")
def on_each_host(f, *arguments):
    "A process of f on each host; by host."
    pids = {host: cmpi.spawn(f, *arguments, resources=Resources(1, host=host)) for host in HOSTS}
    assert all(Receiver[str](pid, name="where").recv(timeout=20) == host for host, pid in pids.items())
    return pids
def say_where(parent):
    Sender[str](parent, name="where").send(os.uname().nodename)
"""


def came_up(job):
    line = job.stdout.readline()
    assert line == b"up\n", line + job.stdout.read() + job.stderr.read()


def end(job, jobs, number):
    """Send cmpirun a signal: `job` itself is the command that entered the host."""
    (cmpirun,) = [p for p in jobs.processes() if "cmpirun" in " ".join(p.cmdline()[:2])][:1]
    cmpirun.send_signal(number)
    return job.communicate(timeout=20)


def silent(result):
    """Whether cmpirun printed nothing except that it waits, as it does on a busy machine."""
    return all(line.startswith("cmpirun: waiting for ") for line in result.err.splitlines())


BETWEEN = """
def pair(parent):
    say_where(parent)
    other, first = Receiver[tuple](parent, name="other").recv()
    if first:
        with Sender[np.ndarray](other) as to:
            for i in range(20):
                to.send(np.full(100_000, i))
        Sender[int](parent).send(Receiver[int](other, name="sum").recv())
    else:
        Sender[int](other, name="sum").send(sum(int(a.sum()) for a in Receiver[np.ndarray](other)))
pids = on_each_host(pair)
a, b = pids["h2"], pids["h3"]
Sender[tuple](a, name="other").send((b, True))
Sender[tuple](b, name="other").send((a, False))
print(Receiver[int](a).recv(timeout=20), cmpi.wait(b, timeout=10))
cmpi.kill(pids["h1"])
"""


SLEEPS = (
    PRELUDE
    + """
def sleep(parent):
    say_where(parent)
    time.sleep(100)
on_each_host(sleep)
print("up", flush=True)
time.sleep(100)
"""
)
