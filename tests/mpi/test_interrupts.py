"""Exceptions out of signal handlers: every call is done or not done, and the caller can tell."""

import os

import pytest

# Of each kind; 100,000 takes a quarter of an hour.
INTERRUPTS = int(os.environ.get("CMPI_TEST_INTERRUPTS", "300"))

PRELUDE = """
import cmpi, random, signal, sys, time
import numpy as np
from cmpi import Receiver, Sender, select, spawn
N = int(sys.argv[1])
class Tick(Exception): pass
def tick(*_): raise Tick
signal.signal(signal.SIGALRM, tick)

def interrupted(step):
    "Call `step` again and again, until N of the calls were cut."
    ticks = []
    def count():
        while len(ticks) < N:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 2e-3), 0.1)
                while True: step()
            except Tick: ticks.append(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return True
    while True:
        try:
            if count(): return
        except Tick: pass  # in the midst of counting, or of stopping the timer
"""


@pytest.mark.parametrize("kind", ["send", "try_send", "select", "array"])
def test_a_send_that_a_signal_handler_cuts_is_done_or_not(job, kind):
    text = """
def reader(parent):
    Sender(parent).send(sum(1 for _ in Receiver(parent)))
pid = spawn(reader)
sender = Sender(pid)
value = np.zeros(20_000) if sys.argv[2] == "array" else (1, "x")
def step():
    if sys.argv[2] == "select": select(sender.sending(value))
    elif sys.argv[2] == "try_send": sender.try_send(value)
    else: sender.send(value)
interrupted(step)
sent = sender.statistics().messages
sender.close()
print(Receiver(pid).recv() == sent, cmpi.wait(pid))
"""
    result = job(PRELUDE + text, str(INTERRUPTS), kind, timeout=60 + INTERRUPTS)
    assert (result.code, result.out) == (0, "True 0\n"), result


@pytest.mark.parametrize("kind", ["recv", "try_recv", "select", "any", "array"])
def test_a_receive_that_a_signal_handler_cuts_loses_nothing(job, kind):
    text = """
def writer(parent):
    stop, sender, i = Receiver(parent), Sender(parent), 0
    value = np.zeros(20_000) if sys.argv[2] == "array" else None
    while stop.try_recv() is None:
        if value is None: sender.send(i)
        else: value[0] = i; sender.send(value)
        i += 1
    sender.close()
pid = spawn(writer)
got = []
receiver, many = (None, Receiver.any([pid])) if sys.argv[2] == "any" else (Receiver(pid), None)
missing = object()
def step():
    if sys.argv[2] == "recv": got.append(receiver.recv())
    elif sys.argv[2] == "select": got.append(select(receiver).value)
    elif sys.argv[2] == "array": got.append(receiver.recv()[0])
    elif sys.argv[2] == "any": got.append(many.recv()[1])
    else:
        value = receiver.try_recv(missing)
        if value is not missing: got.append(value)
interrupted(step)
Sender(pid).send("stop")
got += [value[0] if sys.argv[2] == "array" else value for value in receiver] if many is None else []
got += [value for _, value in many] if many is not None else []
print(got == list(range(len(got))), cmpi.wait(pid))
"""
    result = job(PRELUDE + text, str(INTERRUPTS), kind, timeout=60 + INTERRUPTS)
    assert (result.code, result.out) == (0, "True 0\n"), result
