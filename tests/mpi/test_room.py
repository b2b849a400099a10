"""Room for spawned processes: which processes hold it, and the message when there is none."""

import re

import pytest

PRELUDE = """
import cmpi, sys
from cmpi import Receiver, Resources, Sender, spawn, wait
one = Resources(cpus=1)
def held(parent): Receiver(parent).recv()
"""


@pytest.mark.slow
def test_ranks_and_processes_that_request_nothing_hold_no_cores(job):
    text = """
spare = [spawn(held) for _ in range(40)]  # more than 16 a core
workers = [spawn(held, resources=one) for _ in range(2)]  # both at once
for p in workers + spare: Sender(p).send(0)
print([wait(p).code for p in workers + spare].count(0), cmpi.resources().cpus)
"""
    result = job(PRELUDE + text, options=("--cpus", "2"))
    assert (result.code, result.out, result.err) == (0, "42 0.0\n", ""), result


@pytest.mark.slow
def test_a_spawn_that_waits_for_room_is_reported_once(job):
    text = """
import time
def later(parent): time.sleep(1.6)
for _ in range(3): p = spawn(later, resources=one)
wait(p)
try: cmpi.spawn(later, resources=Resources(cpus=3))
except cmpi.NeverFits as error: print(error)
"""
    result = job(PRELUDE + text, options=("--cpus", "1"))
    pattern = (
        r"cmpirun: rank 0: spawn\(cpus=1\) waits for room: 0 of 1 cores free "
        r"\(later · [0-9a-f]{7} holds 1\); ask for less, or --cpus 2\n"
    )
    assert result.code == 0 and re.fullmatch(pattern, result.err), result
    assert "asked for 3 cpus" in result.out, result


def test_a_deadlock_for_lack_of_room_is_reported_as_such(job):
    text = "pids = [spawn(held, resources=one) for _ in range(2)]"
    result = job(PRELUDE + text, options=("--cpus", "2", "--rank-cpus", "0.5"))
    assert result.code == 86 and "deadlock for lack of room" in result.err, result
    assert "room for a spawn at " in result.err and "(rank 0 holds 0.5, " in result.err, result
    assert "0.5 of 2 cores free" in result.err and "--cpus 3" in result.err, result
