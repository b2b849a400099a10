"""Exceptions of signal handlers that Python drops, in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from cmpi._base.interrupts import mark
from cmpi._runtime.process import signal_guard
came = []
signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
signal_guard.install()
class Time(Exception): pass
def dropped():
    error = Time()
    mark(error, signal.SIGUSR1)  # as if it came before the first instruction, where no test can hit
    return error
text = "class Finalized:\\n    def __del__(self): raise dropped()"
exec(compile(text, sys.argv[1].replace("PACKAGE", signal_guard.PACKAGE), "exec"))
it = Finalized()
del it
until = time.monotonic() + float(sys.argv[2])
while not came and time.monotonic() < until: time.sleep(0.01)
print(len(came))
"""


@pytest.mark.parametrize("place, patience_s, times", [("PACKAGE/x.py", 20, 1), ("/elsewhere/x.py", 0.1, 0)])
def test_a_signal_whose_exception_was_dropped_in_cmpi_is_sent_again(place, patience_s, times):
    command = [sys.executable, "-c", PROGRAM, place, str(patience_s)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"{times}\n"
    assert ("Exception ignored in" in ran.stderr) is (times == 0), ran.stderr


RECOVERS = """
import signal, sys, threading, time
from cmpi._base.interrupts import mark
from cmpi._runtime.process import signal_guard
class Time(Exception): pass
came, recovered = [], []
def handler(*_):
    came.append(len(recovered))
    raise Time
signal.signal(signal.SIGUSR1, handler)
signal_guard.install()
def cut():
    error = Time()
    mark(error, signal.SIGUSR1)
    return error
called = "def enter(): signal.raise_signal(signal.SIGUSR1)"
exec(compile(called, sys.argv[1].replace("LIBRARY", threading.__file__), "exec"))
text = "def recover():\\n try: raise cut()\\n except Time:\\n  enter()\\n  recovered.append(1)"
exec(compile(text, f"{signal_guard.PACKAGE}/x.py", "exec"))
try:
    recover()
    until = time.monotonic() + 20
    while time.monotonic() < until: time.sleep(0.01)
except Time:
    pass
print(came)
"""


@pytest.mark.parametrize("place, when", [("LIBRARY", 1), ("/elsewhere/x.py", 0)])
def test_a_second_signal_waits_until_cmpi_has_dealt_with_the_first(place, when):
    """Also if it comes in `threading.Condition.__enter__`, which cmpi calls then."""
    ran = subprocess.run(
        [sys.executable, "-c", RECOVERS, place], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == f"[{when}]\n", ran.stderr


FASTER = """
import signal
from cmpi._runtime.process import signal_guard
came, left = [], [3000]
signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
signal_guard.install()
def slow():
    if left[0]:
        left[0] -= 1
        signal.raise_signal(signal.SIGUSR1)
signal_guard.before.append(slow)
signal.raise_signal(signal.SIGUSR1)
print(left, len(came))
"""


def test_signals_that_come_faster_than_the_work_before_a_handler_do_not_fill_the_stack():
    ran = subprocess.run([sys.executable, "-c", FASTER], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[0] 3001\n", ran.stderr
