"""A call of cmpi that has returned keeps no object of the program alive."""

import pathlib

from tests import public_calls

PRELUDE = f"""
import asyncio, cmpi, gc, sys, time, weakref
import numpy as np
from cmpi import Receiver, Sender, select, spawn
class Value:
    "A message, an argument, or a local variable of a function that fails."
sys.path.append({str(pathlib.Path(__file__).parents[2])!r})
from tests import public_calls
names = {{}}
for name in public_calls.calls(): names.setdefault(public_calls.code_of(name), []).append(name)
kept, covered = [], set()
def profile(frame, event, argument):
    if event == "call": covered.update(names.get(frame.f_code, ()))
def check(*functions):
    "Call each with an object, which it uses and of which it may return others; note those that live on."
    for f in functions:
        value = Value()
        alive = [weakref.ref(value)]
        sys.setprofile(profile)
        try: alive += [weakref.ref(found) for found in f(value) or ()]
        except Exception as error: assert isinstance(error, (cmpi.CmpiError, TimeoutError, KeyError)), error
        finally: sys.setprofile(None)
        del value
        end_s = time.monotonic() + 10  # a thread may be about to let go of it
        while gc.collect() >= 0 and any(ref() is not None for ref in alive) and time.monotonic() < end_s:
            time.sleep(0.005)
        if any(ref() is not None for ref in alive): kept.append(f.__name__)
def report(): print(kept); print(*sorted(covered))
def echo(parent, *arguments):
    sender = Sender(parent)
    for value in Receiver(parent): sender.send(value)
"""

# The calls that each program below makes and checks. A new call of cmpi has to be added to one of them.
CHANNELS = """
    AnyReceiver.__iter__ AnyReceiver.add AnyReceiver.close AnyReceiver.recv Broadcast.close
    Broadcast.send Receiver Receiver.__aiter__ Receiver.__iter__ Receiver.any Receiver.arecv
    Receiver.close Receiver.makefile Receiver.name Receiver.pid Receiver.recv Receiver.statistics
    Receiver.try_recv Sender Sender.asend Sender.broadcast Sender.close Sender.loan Sender.makefile
    Sender.name Sender.pid Sender.send Sender.sending Sender.statistics Sender.try_send capacity
    deadline init parent pid preload resources select spawn try_spawn wait whereis world
"""
PROCESSES = """
    Call.accept Call.fail Call.reply Job Job.attach Mailbox Mailbox.__aiter__ Mailbox.__iter__
    Mailbox.arecv Mailbox.arecv_from Mailbox.close Mailbox.recv Mailbox.recv_from Mailbox.try_recv
    NamedSender.asend NamedSender.close NamedSender.flush NamedSender.pid NamedSender.send
    Notices.__aiter__ Notices.__iter__ Notices.add Notices.arecv Notices.next Notices.over Notices.recv
    Notices.remove Notices.told Notices.waited_for Sender.to acall aresult aspawn await_exit call kill
    link monitor on_deadline register result run spawn_group trap_exits unlink unregister
"""
SUPERVISORS = """
    Mailbox.readable restart_child start_child supervise terminate_child which_children
"""
POOLS = """
    PoolFuture.cancel PoolFuture.exception PoolFuture.kill PoolFuture.output PoolFuture.result
    ProcessPool ProcessPool.amap ProcessPool.asubmit ProcessPool.kill ProcessPool.map
    ProcessPool.max_workers ProcessPool.options ProcessPool.resize ProcessPool.share
    ProcessPool.shutdown ProcessPool.statistics ProcessPool.submit TaskOptions.amap TaskOptions.asubmit
    TaskOptions.map TaskOptions.options TaskOptions.submit
"""
NOT_CHECKED = {"Job.close", "Job.failures"}  # a rank has no Job


def test_the_checked_calls_are_all_that_there_are():
    checked = [*CHANNELS.split(), *PROCESSES.split(), *SUPERVISORS.split(), *POOLS.split()]
    assert sorted([*checked, *NOT_CHECKED]) == sorted(public_calls.calls())


def nothing_is_kept(out, calls):
    """Whether a program says that nothing is kept alive, and that it has made these calls."""
    kept, made = out.splitlines()
    return kept == "[]" and set(calls.split()) <= set(made.split())


def test_no_call_keeps_its_arguments_its_result_or_the_frames_that_it_failed_in(program):
    out = program("""
pid = spawn(echo)
sender, receiver, ended = Sender(pid), Receiver(pid), spawn(lambda parent: None)
cmpi.wait(ended)
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
def iterated(value): sender.send(value); return [next(iter(receiver))]
def iterated_in_loop(value):
    async def loop(): await sender.asend(value); return [await receiver.__aiter__().__anext__()]
    return asyncio.run(loop())
def closed(value):
    for end in Receiver.any([pid], name="c"), Receiver(ended, name="d"), Sender.broadcast([pid], name="c"):
        end.close()
def iterates_over_the_dead(value): next(iter(Receiver.any([ended], name="e")))
def files(value):
    with Sender(pid, name="file").makefile() as file: file.write(b"x")
    Receiver(ended, name="file").makefile().close()
def facts(value):
    for end in sender, receiver: end.statistics(), end.name, end.pid
    cmpi.init(); cmpi.preload("json")
    for fact in cmpi.capacity, cmpi.parent, cmpi.world, cmpi.resources, cmpi.pid, cmpi.deadline: fact()
check(send, try_send, try_recv, selects, withdrawn, array, out, loan, unsent_loan, merged, broadcast,
      times_out, select_times_out, not_picklable, wrong_type, two_ends, to_the_dead, from_the_dead,
      aborts, asynchronous, cancels, spawns, waits, never_fits, whereis, iterated, iterated_in_loop, closed,
      iterates_over_the_dead, files, facts)
report()
sender.close()
""")
    assert nothing_is_kept(out, CHANNELS), out


def test_mailboxes_names_links_results_and_groups_keep_nothing(program):
    out = program(
        """
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
def group(value):
    for p in cmpi.spawn_group(2, lambda parent, v: None, value): cmpi.wait(p)
def aspawn(value): asyncio.run(cmpi.await_exit(asyncio.run(cmpi.aspawn(lambda parent, v: None, value))))
def linked(value):
    notices = cmpi.trap_exits(); p = spawn(waits, value, link=True); cmpi.kill(p)
    notices.recv(); cmpi.unlink(p); cmpi.trap_exits(False)
def monitored(value):
    p = spawn(waits, value); notices = cmpi.monitor(p); cmpi.kill(p); notices.recv()
def name_taken(value): cmpi.register("server")
def deadline(value): cmpi.on_deadline(lambda: value)  # there is none
def runs(value): cmpi.run(lambda: value, n=2)
def job(value): cmpi.Job(stdout=value)
def attached(value): cmpi.Job.attach("lab")
def mails(parent, value): Sender.to(parent).send(value)
def asks(parent, value):
    try: cmpi.call(parent, value)
    except KeyError: pass
def received(value):
    pids = [spawn(mails, value) for _ in range(4)]
    found = [next(iter(box)), box.recv_from()[1]]
    found += asyncio.run(box.arecv()), asyncio.run(box.arecv_from())[1]
    pids.append(spawn(mails, value))
    async def loop(): return await box.__aiter__().__anext__()
    found.append(asyncio.run(loop()))
    for p in pids: cmpi.wait(p)
    return found
def polled(value):
    p = spawn(mails, value)
    while (found := box.try_recv()) is None: pass
    cmpi.wait(p); return [found]
def answered(value):
    pids = [spawn(asks, value), spawn(asks, value)]
    first, second = box.recv(), box.recv()
    first.reply(value); second.fail(KeyError())
    for p in pids: cmpi.wait(p)
    return [first, second]
def asked(value): return [asyncio.run(cmpi.acall("server", value))]
def mailed(value):
    with Sender.to("server") as sender:
        asyncio.run(sender.asend(value)); sender.flush(); sender.pid; sender.close()
    return [receiver.recv()]
def opened(value): cmpi.Mailbox("other").close()
def noticed(value):
    a, b, c, d = (spawn(lambda parent, v: None, value) for _ in range(4))
    notices = cmpi.monitor(a); notices.remove(a)
    for p in b, c, d: notices.add(p)
    async def loop(): return await notices.arecv(), await notices.__aiter__().__anext__()
    asyncio.run(loop()); next(iter(notices)); cmpi.wait(a)
def links(value):
    cmpi.trap_exits(); p = spawn(waits, value); cmpi.link(p); cmpi.unlink(p); cmpi.kill(p)
    cmpi.wait(p); cmpi.trap_exits(False)
def name(value): cmpi.register("mine"); cmpi.unregister("mine")
check(to_mailbox, called, call_fails, nobody, mailbox, mailbox_times_out, selected, result, result_fails,
      aresult, group, aspawn, linked, monitored, name_taken, received, polled, answered, asked, mailed,
      opened, noticed, links, name, deadline, runs, job, attached)
report()
cmpi.kill(pid)
"""
    )
    assert nothing_is_kept(out, PROCESSES), out


def test_a_supervisor_that_has_ended_keeps_none_of_its_children(program):
    out = program(
        """
def once(parent, value): cmpi.Pid
def supervised(value):
    cmpi.supervise([cmpi.Child(once, value, restart="temporary")])
def too_many(value):
    def fails(parent, v): sys.exit(3)
    cmpi.supervise([cmpi.Child(fails, value)], max_restarts=1, backoff=(0.0, 0.0))
def dynamic(value):
    p = spawn(lambda parent: cmpi.supervise([], dynamic=True))
    child = cmpi.start_child(p, cmpi.Child(lambda parent, v: time.sleep(100), value))
    cmpi.terminate_child(p, child); (info,) = cmpi.which_children(p); cmpi.restart_child(p, info.number)
    cmpi.kill(p); cmpi.wait(p)
check(supervised, too_many, dynamic)
report()
"""
    )
    assert nothing_is_kept(out, SUPERVISORS), out


def test_a_pool_keeps_nothing_of_a_task_that_is_over(program):
    out = program(
        """
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
    def optional(value):
        options = pool.options(retries=1).options(timeout=50)
        async def loop():
            return [await options.asubmit(same, value), *[x async for x in options.amap(same, [value])]]
        return [options.submit(same, value).result(), *options.map(same, [value]), *asyncio.run(loop())]
    def in_loop(value):
        async def loop(): return [x async for x in pool.amap(same, [value])]
        return asyncio.run(loop())
    def told(value):
        f = pool.submit(repr, value); f.exception(); f.output(); pool.statistics()
        pool.resize(pool.max_workers)
    check(optional, in_loop, told)
def ended(value):
    pool = cmpi.ProcessPool(1); future = pool.submit(lambda: (value, time.sleep(100))); pool.kill()
    return [pool, future]
def whole(value):
    with cmpi.ProcessPool(1, initializer=lambda v: None, initargs=(value,)) as pool:
        pool.submit(same, value).result()
    return [pool]
check(whole, ended)
report()
""",
        timeout=60,
    )
    assert nothing_is_kept(out, POOLS), out


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
