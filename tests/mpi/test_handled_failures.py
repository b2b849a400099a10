"""Which failures of spawned processes count for the job, and which the program has dealt with."""

import pytest

PRELUDE = """
import asyncio, cmpi, os, sys, threading, time
from cmpi import Receiver, Sender, link, monitor, spawn, wait
def fails(parent): raise SystemExit(3)
def fails_later(parent): r = Receiver(parent); r.recv(); os._exit(3)
def ended():  # a process that has failed, and nobody has looked
    p = spawn(fails)
    while cmpi.capacity().free != cmpi.capacity().total: time.sleep(0.02)
    return p
"""

HANDLED = {
    "wait": "print(wait(spawn(fails)).code)",
    "await_exit": "print(asyncio.run(cmpi.await_exit(spawn(fails))).code)",
    "a notice": "print(monitor(spawn(fails)).recv().status.code)",
    "a trapped exit": "exits = cmpi.trap_exits(); spawn(fails, link=True); print(exits.recv().status.code)",
    "PeerExited of a receiver": """
try: Receiver(spawn(fails)).recv()
except cmpi.PeerExited as error: print(error.status.code)
""",
    "PeerExited of a sender": """
s = Sender(spawn(fails_later)); s.send(0)
try:
    while True: s.send(0)
except cmpi.PeerExited as error: print(error.status.code)
""",
    "another process waits": """
def other(parent, p): print(wait(p).code)
wait(spawn(other, spawn(fails)))
""",
}
COUNTS = {
    "nobody looked": "spawn(fails)",
    "wait timed out": """
p = spawn(fails_later)
try: wait(p, timeout=0)
except TimeoutError: Sender(p).send(0)
""",
    "only another end was received": "wait(spawn(fails)); spawn(fails)",
    "a channel is open, and nobody reads it": "r = Receiver(spawn(fails))",
}


@pytest.mark.parametrize("how", HANDLED)
def test_a_failure_that_the_program_has_handled_does_not_fail_the_job(job, how):
    result = job(PRELUDE + HANDLED[how])
    assert (result.code, result.out) == (0, "3\n") and "cmpirun:" not in result.err, result


def test_strict_mode_counts_every_failure(job):
    result = job(PRELUDE + HANDLED["wait"], options=("--strict",))
    assert result.code == 3 and "failed: exit code 3" in result.err and "unseen" not in result.err, result


@pytest.mark.parametrize("how", COUNTS)
def test_an_unhandled_failure_fails_the_job(job, how):
    result = job(PRELUDE + COUNTS[how])
    assert result.code == 3 and "failed: exit code 3" in result.err, result
    assert "unseen  no process of the job has handled this failure" in result.err, result


def test_an_uncaught_peer_exited_does_not_count_as_dealing_with_the_failure(job):
    result = job(PRELUDE + "Receiver(spawn(fails)).recv()")
    assert result.code == 3 and "failed: exit code 3" in result.err, result
    assert "later   rank 0" in result.err, result


def test_a_link_to_an_ended_process_is_a_failure_that_says_why(job):
    result = job(PRELUDE + "p = spawn(lambda parent: None); wait(p); link(p); time.sleep(60)")
    assert result.code == 143 and "failed: linked itself with " in result.err, result
    assert "which had ended before" in result.err, result
