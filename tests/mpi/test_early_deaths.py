"""Helpers that are killed before they are ready, or whose death makes MPI's launcher end the job."""

import signal

import pytest

from tests.mpi.conftest import mpi_kind

pytestmark = pytest.mark.slow

KILLER = """
import os, signal, sys, threading, time
def find(word):
    "This job's processes with this word in their command, the launcher's own left out."
    own, found = os.environ["MARK_OF_TEST_JOB"].encode(), set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/cmdline") as a, open(f"/proc/{pid}/environ", "rb") as b:
                argv = a.read().split(chr(0))
                if os.path.basename(argv[0]).startswith("python") and own in b.read():
                    found |= {pid for part in argv[:6] if word in part}
        except OSError:
            continue
    return found
def kill(word, but=()):
    "The newest of them, as soon as there is one."
    while not (found := find(word) - set(but)):
        pass
    os.kill(max(found), signal.SIGKILL)
"""


def test_a_job_runs_without_a_fork_server_that_was_killed_at_its_start(job):
    text = """
threading.Thread(target=kill, args=["fork_server:main"]).start()
import cmpi
print(cmpi.wait(cmpi.spawn(lambda parent: None), timeout=40))
"""
    result = job(KILLER + text, timeout=60)
    assert (result.code, result.out) == (0, "0\n"), result


def test_spawning_survives_the_death_of_a_spawn_stub_at_its_start(job):
    if mpi_kind() == "mpich":
        pytest.skip("NOT TESTED: Hydra ends the job when a process dies that has not left it in order")
    text = """
import cmpi, cmpi._runtime.process.context
from cmpi._core.job import slots
cmpi.pid()
folder = cmpi._runtime.process.context.current().state.doorbell._folder
def kill_announced():
    "The stub, as soon as it has said that it is there."
    while True:
        for name in os.listdir(folder):
            try:
                what = open(f"{folder}/{name}").read() if name.endswith(".pid") else ""
                if what.startswith(f"start {slots.FIRST}"):
                    return os.kill(int(name[:-4]), signal.SIGKILL)
            except FileNotFoundError:
                continue
killer = threading.Thread(target=kill_announced)
killer.start()
p = cmpi.spawn(lambda parent: None)
killer.join()
print(cmpi.wait(p, timeout=40).signal, cmpi.wait(cmpi.spawn(lambda parent: None), timeout=40))
"""
    result = job(KILLER + text, timeout=60)
    assert result.out in ("0 0\n", "9 0\n"), result  # if it is killed late, its process ends with it


def test_a_stub_that_is_killed_before_it_says_that_it_is_there_is_done_without(job):
    text = """
import cmpi
from cmpi._core.job import slots
cmpi.pid()
def kill_stub(wanted):
    "The stub of this start, as soon as it is seen."
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as a, open(f"/proc/{pid}/environ", "rb") as b:
                    argv = a.read().split(chr(0))
                    mine = wanted in argv and any("spawn_stub" in word for word in argv)
                    if mine and os.environ["MARK_OF_TEST_JOB"].encode() in b.read():
                        return os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue
killer = threading.Thread(target=kill_stub, args=[str(slots.FIRST)])
killer.start()
for how in {}, {"mpi": True}:
    print([cmpi.wait(cmpi.spawn(lambda parent: None, **how), timeout=40).code for _ in range(3)])
killer.join()
"""
    result = job(KILLER + text, timeout=60)
    if mpi_kind() == "mpich":  # Hydra ends the job when a process dies that has not left it in order
        assert result.code == 1 and "a process that MPI was starting" in result.err, result
        return
    first = ("[0, 0, 0]\n", "[137, 0, 0]\n")  # if it is killed late, its process ends with it
    assert result.out in [line + "[0, 0, 0]\n" for line in first], result


@pytest.mark.parametrize(
    ("victim", "words"),
    [("root/main.py", "the spawn completer"), ("spawn_stub.py", "the monitor of ")],
)
def test_the_job_ends_with_the_dead_process_named(job, victim, words):
    """Open MPI's launcher survives a monitor's death, and the root names the rank: its monitor was lost
    or, if that had not reported yet, the rank could not be started."""
    text = f"""
if os.environ.get("PMIX_RANK", os.environ.get("PMI_RANK")) == "0":
    kill({victim!r})
import cmpi
cmpi.spawn(print)  # only now is the spawn completer needed
time.sleep(20)
"""
    result = job(KILLER + text, options=["-n", "2"], timeout=60)
    assert result.code not in (0, -signal.SIGKILL), result
    found = words in result.err
    if victim == "spawn_stub.py":  # MPICH's launcher may end the rank before it ends the root
        found |= "its monitor was lost" in result.err or "ended by signal 9" in result.err
        found |= "could not be started: MPI's " in result.err  # it was not ready yet
    assert found, result
