"""Ctrl-\\ shows what ranks do even if they never use cmpi, and ranks that all wait inside MPI are
reported."""

import os
import select
import signal

import pytest

pytestmark = pytest.mark.slow

PLAIN = """
import threading, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
def waits(): comm.recv(source=1)
def sleeps(): time.sleep(600)
comm.barrier()
print("ready", flush=True)
waits() if comm.rank == 0 else sleeps()
"""
MIXED = """
import sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
if comm.rank == 0: comm.recv(source=1, tag=7)
elif sys.argv[1] == "mpi": comm.Barrier()
elif sys.argv[1] == "cmpi":
    import cmpi
    cmpi.Receiver(cmpi.world()[0]).recv()
"""
GOES_ON = """
import time
from mpi4py import MPI
comm = MPI.COMM_WORLD
end = time.monotonic() + 3
while comm.allreduce(time.monotonic() < end, MPI.LAND): comm.barrier()
time.sleep(0.5)
"""


def shown(jobs, argv, words, act=lambda job: None):
    """Return stderr once it contains all the words; then end the job.

    `act` is called again while nothing comes: a rank may not have reached the place where it waits.
    """
    job = jobs.start("cmpirun", "--output", "plain", "--grace", "0.2", *argv)
    act(job)
    text = ""
    while not all(word in text for word in words):
        if not select.select([job.stderr], [], [], 3)[0]:
            act(job)
            continue
        more = os.read(job.stderr.fileno(), 65536).decode()
        assert more, f"ended before it showed {words}:\n{text}"
        text += more
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=60)
    return text


def ask(ready):
    left = ready

    def act(job):
        nonlocal left
        while left:
            assert job.stdout.readline() == b"ready\n"
            left -= 1
        job.send_signal(signal.SIGQUIT)

    return act


def test_sigquit_shows_the_stacks_of_ranks_that_never_use_cmpi(jobs):
    words = ["in waits\n", "comm.recv(source=1)", "in sleeps\n", "time.sleep(600)", "stacks of rank 0"]
    words += ["stacks of rank 1", "line 9 in <module>\n"]
    text = shown(jobs, ("-n", "2", "python", jobs.script(PLAIN)), words, ask(2))
    assert "rank_main" not in text, text


def test_a_rank_that_is_not_python_is_named_and_not_signalled(jobs):
    argv = "sh", "-c", "echo ready; exec sleep 600"
    shown(
        jobs,
        argv,
        ["rank 0: no stacks: it is not a Python program that cmpirun has started directly"],
        ask(1),
    )


@pytest.mark.parametrize(
    "second, where",
    [
        ("mpi", "MPI_Barrier at {}:6 for "),
        ("cmpi", "recv from "),
        ("end", "MPI_Finalize at its end for "),
    ],
)
def test_ranks_that_all_wait_are_named_and_go_on(jobs, second, where):
    path = jobs.script(MIXED)
    one, two = f"    rank 0 waits in MPI_Recv at {path}:5 for ", f"    rank 1 waits in {where.format(path)}"
    argv = "--report-mpi-waits", "0.4", "-n", "2", "python", path, second
    text = shown(jobs, argv, [one, two])
    assert "cmpirun: all processes are waiting" in text and "the job goes on" in text, text


def test_ranks_that_exchange_messages_all_the_time_are_not_named(jobs):
    result = jobs.run("cmpirun", "--report-mpi-waits", "0.4", "-n", "2", "python", jobs.script(GOES_ON))
    assert (result.code, result.err) == (0, ""), result
