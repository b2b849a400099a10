"""Jobs near the limit of processes, which applies to everybody except the superuser."""

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import os, resource, time
import cmpi
def child(parent, stays):
    cmpi.Sender(parent).send(0)
    if stays: cmpi.Receiver(parent).recv()
def spawn(stays=False):
    pid = cmpi.spawn(child, stays, resources=cmpi.Resources(0.001, "1 MiB"))
    cmpi.Receiver(pid).recv()
    return pid
def release(children):
    for pid in children: cmpi.Sender(pid).send(0)
    for pid in children: assert cmpi.wait(pid).ok
def until_refused():
    children = []
    try:
        while True: children.append(spawn(stays=True))
    except cmpi.PeerExited as error:
        print(error)
    return children
"""


def test_a_spawn_at_the_process_limit_fails_at_once_and_later_ones_succeed(as_user):
    """Hydra (MPICH) starts nothing any more once it was refused a process, so that must never happen."""
    text = """
children = until_refused()
assert len(children) > 3
release(children)
for _ in range(3): print(cmpi.wait(spawn()))
"""
    result = as_user(65533, PRELUDE + text, ("prlimit", "--nproc=70:70"))
    assert result.code == 0, result
    refused, *later = result.out.splitlines()
    assert "could not be started: you may have 70 processes and threads on this host" in refused, result
    assert later == ["0", "0", "0"], result


def test_a_slot_whose_monitor_is_refused_a_process_is_used_again_later(as_user):
    text = """
LAUNCHERS = ("hydra", "mpiexec", "prte")  # Hydra could be refused a process that it is just starting
def limit_all(soft):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().startswith(LAUNCHERS): continue
            _, hard = resource.prlimit(int(pid), resource.RLIMIT_NPROC)
            resource.prlimit(int(pid), resource.RLIMIT_NPROC, (soft, hard))
        except OSError: pass  # of another user, or ended
release([spawn(stays=True) for _ in range(4)])
limit_all(1)
children = until_refused()  # processes that were forked ahead can start no thread, and then none is forked
for _ in range(9): children += until_refused()
limit_all(3000)
release(children)
for _ in range(3): print(cmpi.wait(spawn()))
"""
    result = as_user(65532, PRELUDE + text, ("prlimit", "--nproc=3000:3000"))
    assert result.code == 0, result
    *refused, first, second, third = result.out.splitlines()
    assert "could not be started: " in refused[-1] and (first, second, third) == ("0", "0", "0"), result
