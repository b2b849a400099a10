"""Nothing of a program is kept alive by a call of cmpi that has returned."""

PRELUDE = """
import asyncio, cmpi, gc, sys, weakref
import numpy as np
from cmpi import Receiver, Sender, select, spawn
class Value:
    "A message, an argument, or a local variable of a function that fails."
def echo(parent, *arguments):
    sender = Sender(parent)
    for value in Receiver(parent): sender.send(value)
"""


def test_no_call_keeps_its_arguments_its_result_or_the_frames_that_it_failed_in(program):
    out = program("""
pid = spawn(echo)
sender, receiver, ended = Sender(pid), Receiver(pid), spawn(lambda parent: None)
cmpi.wait(ended)
kept = []
def check(f):
    "Call `f`, which returns objects or fails; note which of them, and of its variables, live on."
    value = Value()
    alive = [weakref.ref(value)]
    try: alive += [weakref.ref(found) for found in f(value) or ()]
    except Exception as error: assert isinstance(error, (cmpi.CmpiError, TimeoutError)), error
    del value
    gc.collect()
    if any(ref() is not None for ref in alive): kept.append(f.__name__)
async def in_loop(value):
    await sender.asend(value); return [await receiver.arecv()]
async def cancelled(value):
    try: await asyncio.wait_for(receiver.arecv(), 0.01)
    except asyncio.TimeoutError: pass
def send(value): sender.send(value); return [receiver.recv()]
def try_send(value): sender.try_send(value); return [receiver.recv()]
def try_recv(value):
    sender.send(value)
    while (got := receiver.try_recv()) is None: pass
    return [got]
def selects(value): select(sender.sending(value)); return [select(receiver).value]
def withdrawn(value): sender.sending(value)
def array(value):
    sender.send(np.zeros(100_000)); return [receiver.recv()]
def out(value):
    sender.send(np.zeros(100_000)); return [receiver.recv(out=np.empty(100_000))]
def loan(value):
    lent = sender.loan(100_000); sender.send(lent); return [lent, receiver.recv()]
def unsent_loan(value): return [sender.loan(100_000)]
def merged(value):
    with Sender(pid, name="x") as one, Receiver.any([ended], name="x") as many: many.recv(timeout=0.01)
def broadcast(value):
    with Sender.broadcast([pid], name="b") as many: many.send(value)
def times_out(value): receiver.recv(timeout=0.01)
def select_times_out(value): select(receiver, timeout=0.01)
def not_picklable(value): value.culprit = lambda: value; value.gen = (i for i in ()); sender.send(value)
def wrong_type(value): Sender[int](pid, name="int").send(value)
def two_ends(value): Sender(pid)
def to_the_dead(value): Sender(ended, name="dead").send(value)
def from_the_dead(value): Receiver(ended, name="dead").recv()
def aborts(value):
    with Sender(pid, name="abort") as s: s.send(value); raise cmpi.CmpiError
def asynchronous(value): return asyncio.run(in_loop(value))
def cancels(value): asyncio.run(cancelled(value))
def spawns(value): cmpi.wait(spawn(lambda parent, v: None, value))
def waits(value): cmpi.wait(pid, timeout=0.01)
def never_fits(value): cmpi.try_spawn(echo, value, resources=cmpi.Resources(10_000))
def whereis(value): cmpi.whereis("nobody")
for f in (send, try_send, try_recv, selects, withdrawn, array, out, loan, unsent_loan, merged, broadcast,
          times_out, select_times_out, not_picklable, wrong_type, two_ends, to_the_dead, from_the_dead,
          aborts, asynchronous, cancels, spawns, waits, never_fits, whereis):
    check(f)
print(kept)
sender.close()
""")
    assert out == "[]\n"


def test_a_mismatch_keeps_no_frames_however_often_it_is_raised(program):
    out = program("""
def strings(parent):
    with Sender[str](parent) as s, Receiver(parent, name="done") as done: s.send("x"); done.recv()
pid = spawn(strings)
receiver, alive = Receiver[int](pid), []
def fails():
    value = Value(); alive.append(weakref.ref(value))
    receiver.recv()
for _ in range(3):
    try: fails()
    except cmpi.ContractMismatch: pass
gc.collect()
print([ref() for ref in alive])
Sender(pid, name="done").send(0)
""")
    assert out == "[None, None, None]\n"
