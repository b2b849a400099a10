"""A call of cmpi that has returned keeps no object of the program alive."""

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


CHECK = """
kept = []
def check(*functions):
    "Call each with an object, which it uses and of which it may return others; note those that live on."
    for f in functions:
        value = Value()
        alive = [weakref.ref(value)]
        try: alive += [weakref.ref(found) for found in f(value) or ()]
        except Exception as error: assert isinstance(error, (cmpi.CmpiError, TimeoutError, KeyError)), error
        del value
        end_s = time.monotonic() + 10  # a thread may be about to let go of it
        while gc.collect() >= 0 and any(ref() is not None for ref in alive) and time.monotonic() < end_s:
            time.sleep(0.005)
        if any(ref() is not None for ref in alive): kept.append(f.__name__)
"""


def test_mailboxes_names_links_results_and_groups_keep_nothing(program):
    out = program(
        CHECK
        + """
import time
def server(parent):
    with cmpi.Mailbox("server") as mailbox:
        for message in mailbox:
            if not isinstance(message, cmpi.Call): Sender(parent).send(message)
            elif isinstance(message.request, str): message.fail(KeyError(message.request))
            else: message.reply(message.request)
pid = spawn(server)
cmpi.whereis("server", timeout=None)
box, receiver = cmpi.Mailbox(), Receiver(pid)
def waits(parent, value=None): Receiver(parent).recv()
def raises(parent, value): raise KeyError
def to_mailbox(value):
    with Sender.to("server") as sender: sender.send(value)
    return [receiver.recv()]
def called(value): return [cmpi.call("server", value)]
def call_fails(value): cmpi.call("server", "x")
def nobody(value): cmpi.call("nobody", value, timeout=0.01)
def mailbox(value):
    cmpi.wait(spawn(lambda parent, v: Sender.to(parent).send(v), value)); return [box.recv()]
def mailbox_times_out(value): box.recv(timeout=0.01)
def selected(value):
    cmpi.wait(spawn(lambda parent, v: Sender.to(parent).send(v), value)); return [select(box).value]
def result(value): return [cmpi.result(spawn(lambda parent, v: v, value, result=True))]
def result_fails(value): cmpi.result(spawn(raises, value, result=True))
def aresult(value):
    return [asyncio.run(cmpi.aresult(spawn(lambda parent, v: v, value, result=True)))]
def runs(value): return cmpi.run(lambda: value, n=2)
def group(value):
    for p in cmpi.spawn_group(2, lambda parent, v: None, value): cmpi.wait(p)
def aspawn(value): asyncio.run(cmpi.await_exit(asyncio.run(cmpi.aspawn(lambda parent, v: None, value))))
def linked(value):
    notices = cmpi.trap_exits(); p = spawn(waits, value, link=True); cmpi.kill(p)
    notices.recv(); cmpi.unlink(p); cmpi.trap_exits(False)
def monitored(value):
    p = spawn(waits, value); notices = cmpi.monitor(p); cmpi.kill(p); notices.recv()
def name_taken(value): cmpi.register("server")
def deadline(value): cmpi.on_deadline(lambda: value)
check(to_mailbox, called, call_fails, nobody, mailbox, mailbox_times_out, selected, result, result_fails,
      aresult, runs, group, aspawn, linked, monitored, name_taken)
print(kept)
cmpi.kill(pid)
"""
    )
    assert out == "[]\n"


def test_a_supervisor_that_has_ended_keeps_none_of_its_children(program):
    out = program(
        CHECK
        + """
import time
def once(parent, value): cmpi.Pid
def supervised(value):
    cmpi.supervise([cmpi.Child(once, value, restart="temporary")])
def too_many(value):
    def fails(parent, v): sys.exit(3)
    cmpi.supervise([cmpi.Child(fails, value)], max_restarts=1, backoff=(0.0, 0.0))
check(supervised, too_many)
print(kept)
"""
    )
    assert out == "[]\n"


def test_a_pool_keeps_nothing_of_a_task_that_is_over(program):
    out = program(
        CHECK
        + """
import time
def same(value): return value
def fails(value): raise KeyError("x")
def submitted(value): return [pool.submit(same, value).result()]
def failed(value): pool.submit(fails, value).result()
def not_picklable(value): pool.submit(same, (value, (i for i in ()))).result()
def mapped(value): return list(pool.map(same, [value]))
def unordered(value): return list(pool.map(same, [value], ordered=False))
def captured(value): return [pool.submit(lambda: value).result()]
def killed(value): f = pool.submit(time.sleep, 100); f.kill(); f.result()
def cancelled(value): f = pool.submit(same, value); f.cancel()
def late(value): pool.options(timeout=0.05).submit(lambda: (value, time.sleep(100))).result()
def other_workers(value): return [pool.options(resources=cmpi.Resources(0.1)).submit(same, value).result()]
async def ask(value): return [await pool.asubmit(same, value)]
def asynchronous(value): return asyncio.run(ask(value))
def shared(value):
    array = np.zeros(1 << 18); table = pool.share((array, value))
    pool.submit(lambda t: None, table).result(); return [array, table]
with cmpi.ProcessPool(2) as pool:
    check(submitted, failed, not_picklable, mapped, unordered, captured, killed, cancelled, late,
          other_workers, asynchronous, shared)
def whole(value):
    with cmpi.ProcessPool(1, initializer=lambda v: None, initargs=(value,)) as pool:
        pool.submit(same, value).result()
    return [pool]
check(whole)
print(kept)
""",
        timeout=60,
    )
    assert out == "[]\n"


def test_a_contract_mismatch_keeps_no_python_frames_alive(program):
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
