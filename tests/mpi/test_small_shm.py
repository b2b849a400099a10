"""A /dev/shm that is small, full or not writable, in a mount namespace of its own."""

import subprocess

import pytest

from tests.mpi.conftest import mpi_kind

TEXT = """
import cmpi, numpy as np, os, sys, time
from cmpi import Receiver, Sender, spawn, wait
from cmpi._runtime.process import context
def echo(parent):
    s = Sender(parent)
    for a in Receiver(parent): s.send(a)
"""
SHARES = """
pids = [spawn(echo) for _ in range(int(sys.argv[1]))]
ends = [(Sender(p), Receiver(p)) for p in pids]
for i in range(3):
    for s, _ in ends: s.send(np.full(1 << 20, float(i)))
    assert all(r.recv()[0] == i for _, r in ends)
print(all(context.current().exits.shares_memory(p) for p in pids))
"""
FULL = """
from mpi4py import MPI
if sys.argv[1] == "late": wait(spawn(print, mpi=True))  # which starts MPI in the root, too
with open("/dev/shm/filler", "wb") as file:
    try:
        while True: file.write(bytes(1 << 16)); file.flush()
    except OSError: pass
print(wait(spawn(echo, mpi=True), timeout=20))
os.unlink("/dev/shm/filler")
print(wait(spawn(lambda parent: None), timeout=20))
"""


def can_mount():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")]


def within(jobs, mount, *command, **kwargs):
    shell = f'mount -t tmpfs -o {mount} tmpfs /dev/shm && exec "$@"'
    return jobs.run("unshare", "-m", "sh", "-c", shell, "sh", *command, **kwargs)


def run(jobs, mount, text, *arguments):
    script = jobs.script(TEXT + text)
    return within(jobs, mount, "cmpirun", "--output", "plain", "python", script, *arguments)


@pytest.mark.parametrize("mount", ["size=64m", "size=64k", "ro"])
def test_processes_share_memory_where_dev_shm_is_small(jobs, mount):
    result = run(jobs, mount, SHARES, "12")
    if mpi_kind() == "mpich" and mount != "size=64m":
        # MPICH has a segment there for each world, whichever folder cmpi uses.
        assert result.code == {"size=64k": 135, "ro": 15}[mount], result
        assert ": /dev/shm " in result.err and "MPICH needs some of it" in result.err, result
    else:
        assert (result.code, result.out, result.err) == (0, "True\n", ""), result


@pytest.mark.skipif(mpi_kind() != "mpich", reason="only MPICH needs it")
@pytest.mark.parametrize("when", ["early", "late"])
def test_a_spawn_that_fails_for_a_full_dev_shm_is_reported_as_such_and_the_next_succeeds(jobs, when):
    result = run(jobs, "size=64m", FULL, when)
    how = {"early": "could not be started: /dev/shm is full", "late": "signal 7 (SIGBUS): /dev/shm is full"}
    first, second = result.out.splitlines()[-2:]
    assert how[when] in first and "MPICH needs some of it" in first and second == "0", result


@pytest.mark.parametrize("mount, words", [("size=64m", "64 MiB free"), ("ro", "cannot be written to")])
def test_the_doctor_explains_the_effect_of_a_small_dev_shm(jobs, mount, words):
    result = within(jobs, mount, "cmpirun", "--doctor", timeout=60)
    row = next(line for line in result.out.splitlines() if line.startswith("/dev/shm"))
    state = "fault" if (mpi_kind(), mount) == ("mpich", "ro") else "warning"
    assert words in row and row.split()[1] == state, result
    assert result.code == {"warning": 1, "fault": 2}[state], result
    if state == "warning":
        assert "share memory through files in " in row and "through shared memory" in result.out, result
