"""Exceptions from signal handlers: every call is either done or not done, and the caller can tell which."""

import os
import signal

import pytest

from cmpi.bench.jobs.interrupted import KINDS

pytestmark = pytest.mark.slow

# `python -m cmpi.bench interrupts` does 100,000 of each kind.
SLOW = [kind for kind, (make, _) in KINDS.items() if make.slower > 1]
FAST = [kind for kind in KINDS if kind not in SLOW]


@pytest.mark.parametrize(("kinds", "count"), [(FAST[::2], 600), (FAST[1::2], 600), (SLOW, 150)])
def test_a_call_interrupted_by_a_signal_handler_is_done_or_not_done(cmpirun, kinds, count):
    program = ("python", "-m", "cmpi.bench.jobs.interrupted", ",".join(kinds), str(count))
    result = cmpirun(*program, timeout=120)
    assert result.code == 0 and not result.err, result
    lines = result.out.splitlines()
    assert len(lines) == len(kinds) and all(line.endswith("everything accounted for") for line in lines)


def test_a_spawn_after_ctrl_c_is_refused_at_once(jobs):
    text = """
import cmpi, signal, sys, time
cmpi.init()
try:
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    try: cmpi.spawn(lambda parent: None)
    except cmpi.NeverFits as error: sys.exit(str(error))
"""
    job = jobs.start("cmpirun", "--output", "plain", "python", jobs.script(text))
    assert job.stdout.readline() == b"up\n"
    os.killpg(job.pid, signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130 and err.startswith(b"no process is started any more: the job was"), err


def test_ctrl_c_waits_in_a_spawned_process_until_it_is_not_inside_cmpi(job):
    text = """
import cmpi, signal
from cmpi._runtime.process import context
def child(parent):
    try:
        with context.current().lock:
            signal.raise_signal(signal.SIGINT)
            print("not cut")
    except KeyboardInterrupt: print("interrupted", flush=True)
cmpi.wait(cmpi.spawn(child))
"""
    result = job(text)
    assert result.out == "not cut\ninterrupted\n", result
