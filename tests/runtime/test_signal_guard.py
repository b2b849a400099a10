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
