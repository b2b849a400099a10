"""Groups: processes spawned as one MPI world."""

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import os, signal, sys, time
import numpy as np
import cmpi
from cmpi import PeerExited, Receiver, Resources, Sender
from mpi4py import MPI
cmpi.init()
small = Resources()
"""


def test_a_group_is_a_world_of_its_own_with_collectives_and_channels(program):
    out = program(
        """
def member(parent, base):
    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank + base)
    mine = cmpi.world()
    if world.rank:
        Sender[int](mine[0]).send(world.rank)
    else:
        ranks = sorted(Receiver[int](pid).recv() for pid in mine[1:])
        Sender[object](parent).send((world.size, total, ranks, mine, mine.index(cmpi.pid())))
pids = cmpi.spawn_group(4, member, 10, resources=small)
size, total, ranks, theirs, index = Receiver[object](pids[0]).recv(timeout=20)
print(size, total, ranks, theirs == pids, index, [str(cmpi.wait(pid, timeout=10)) for pid in pids])
print(MPI.COMM_WORLD.size, cmpi.world() == [cmpi.pid()])
"""
    )
    assert out == "4 46 [1, 2, 3] True 0 ['0', '0', '0', '0']\n1 True\n"


def test_a_large_closure_reaches_every_member(program):
    out = program(
        """
array = np.arange(200_000.0)
def member(parent):
    Sender[float](parent).send(float(array.sum()) + MPI.COMM_WORLD.rank)
pids = cmpi.spawn_group(3, member, resources=small)
print([int(Receiver[float](pid).recv(timeout=20) - array.sum()) for pid in pids])
"""
    )
    assert out == "[0, 1, 2]\n"


def test_a_failure_in_a_group_ends_the_group_and_no_other_process(job):
    result = job(
        PRELUDE
        + """
def member(parent):
    if MPI.COMM_WORLD.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    MPI.COMM_WORLD.Barrier()
def other(parent):
    Sender[int](parent).send(Receiver[int](parent).recv() + 1)
bystander = cmpi.spawn(other, resources=small)
pids = cmpi.spawn_group(3, member, resources=small)
codes = [cmpi.wait(pid, timeout=20) for pid in pids]
print([status.signal for status in codes][1], all(status.code for status in codes))
Sender[int](bystander).send(1)
print(Receiver[int](bystander).recv(timeout=10))
again = cmpi.spawn_group(2, lambda parent: MPI.COMM_WORLD.Barrier(), resources=small)
print([cmpi.wait(pid, timeout=20).code for pid in again])
""",
        options=("--strict",),
    )
    assert result.out == "9 True\n2\n[0, 0]\n" and result.code == 137, result
    assert result.err.count("failed") == 1, result


def test_killing_a_member_while_its_group_starts_ends_the_group(program):
    # The others would wait for this process in MPI_Init.
    out = program(
        """
for i in range(8):
    pids = cmpi.spawn_group(3, lambda parent: time.sleep(60), resources=small)
    time.sleep(i * 0.015)
    cmpi.kill(pids[i % 3])
    print({cmpi.wait(pid, timeout=20).ok for pid in pids})
"""
    )
    assert out == "{True}\n" * 8


def test_a_group_waits_for_room_for_all_members_and_is_refused_if_it_can_never_fit(job):
    result = job(
        PRELUDE
        + """
total = cmpi.capacity().total.cpus
try:
    cmpi.spawn_group(2, print, resources=Resources(cpus=total * 0.6))
except cmpi.NeverFits as error:
    print("2 times" in str(error))
first = cmpi.spawn(lambda parent: time.sleep(0.5), resources=Resources(cpus=total / 2))
pids = cmpi.spawn_group(2, lambda parent: MPI.COMM_WORLD.Barrier(), resources=Resources(cpus=total * 0.45))
print(cmpi.wait(first, timeout=0.1).code, [cmpi.wait(pid, timeout=20).code for pid in pids])
for wrong in (0, -1, 1.5):
    try:
        cmpi.spawn_group(wrong, print)
    except cmpi.UsageError as error:
        print(error)
"""
    )
    assert result.out.splitlines() == [
        "True",
        "0 [0, 0]",
        *(f"a group needs 1 process or more; found n={wrong}" for wrong in (0, -1, 1.5)),
    ], result
    said = [line for line in result.err.splitlines() if "waits for room" not in line]
    assert (result.code, said) == (0, []), result
