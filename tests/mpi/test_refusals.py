"""Calls from places where cmpi cannot serve them: they raise an error, and never hang or give a wrong
result."""

from tests import public_calls

PRELUDE = """
import asyncio, cmpi, os, pickle, signal, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
from cmpi import Receiver, Sender, select, spawn
def error_of(call, *args, **kwargs):
    try: return call(*args, **kwargs)
    except Exception as error: return type(error).__name__
"""


# An expression for each public call. A new call of cmpi has to be added here, or to NOT_REFUSED.
CALLS = {
    "AnyReceiver.__iter__": "next(iter(many))",
    "AnyReceiver.add": "many.add(pid)",
    "AnyReceiver.close": "many.close()",
    "AnyReceiver.recv": "many.recv()",
    "Broadcast.close": "broadcast.close()",
    "Broadcast.send": "broadcast.send(1)",
    "Call.fail": "question.fail(KeyError())",
    "Call.reply": "question.reply()",
    "Job": "cmpi.Job(cpus=1)",
    "Job.attach": "cmpi.Job.attach('x')",
    "Mailbox": "cmpi.Mailbox('x')",
    "Mailbox.__aiter__": "go(mailbox.__aiter__().__anext__())",
    "Mailbox.__iter__": "next(iter(mailbox))",
    "Mailbox.arecv": "go(mailbox.arecv())",
    "Mailbox.arecv_from": "go(mailbox.arecv_from())",
    "Mailbox.close": "mailbox.close()",
    "Mailbox.recv": "mailbox.recv()",
    "Mailbox.recv_from": "mailbox.recv_from()",
    "Mailbox.try_recv": "mailbox.try_recv()",
    "NamedSender.asend": "go(named.asend(1))",
    "NamedSender.flush": "named.flush()",
    "NamedSender.send": "named.send(1)",
    "NamedSender.close": "named.close()",
    "Notices.__aiter__": "go(notices.__aiter__().__anext__())",
    "Notices.__iter__": "next(iter(notices))",
    "Notices.add": "notices.add(pid)",
    "Notices.arecv": "go(notices.arecv())",
    "Notices.recv": "notices.recv()",
    "Notices.remove": "notices.remove(pid)",
    "PoolFuture.exception": "future.exception()",
    "PoolFuture.kill": "future.kill()",
    "PoolFuture.result": "future.result()",
    "ProcessPool": "cmpi.ProcessPool(1)",
    "ProcessPool.amap": "go(pool.amap(abs, [1]).__anext__())",
    "ProcessPool.asubmit": "go(pool.asubmit(abs, 1))",
    "ProcessPool.kill": "pool.kill()",
    "ProcessPool.map": "list(pool.map(abs, [1]))",
    "ProcessPool.resize": "pool.resize(2)",
    "ProcessPool.share": "pool.share(b'x')",
    "ProcessPool.shutdown": "pool.shutdown()",
    "ProcessPool.submit": "pool.submit(abs, 1)",
    "Receiver": "Receiver(pid, name='x')",
    "Receiver.__aiter__": "go(receiver.__aiter__().__anext__())",
    "Receiver.__iter__": "next(iter(receiver))",
    "Receiver.any": "Receiver.any([pid], name='x')",
    "Receiver.arecv": "go(receiver.arecv())",
    "Receiver.close": "receiver.close()",
    "Receiver.makefile": "receiver.makefile().readline()",
    "Receiver.recv": "receiver.recv()",
    "Receiver.statistics": "receiver.statistics()",
    "Receiver.try_recv": "receiver.try_recv()",
    "Sender": "Sender(pid, name='x')",
    "Sender.asend": "go(sender.asend(1))",
    "Sender.broadcast": "Sender.broadcast([pid], name='x')",
    "Sender.close": "sender.close()",
    "Sender.loan": "sender.loan(100_000)",
    "Sender.makefile": "[(f := sender.makefile()).write(b'x'), f.flush()]",
    "Sender.send": "sender.send(1)",
    "Sender.sending": "select(sender.sending(1))",
    "Sender.statistics": "sender.statistics()",
    "Sender.to": "Sender.to(pid).send(1)",
    "Sender.try_send": "sender.try_send(1)",
    "TaskOptions.amap": "go(options.amap(abs, [1]).__anext__())",
    "TaskOptions.asubmit": "go(options.asubmit(abs, 1))",
    "TaskOptions.map": "list(options.map(abs, [1]))",
    "TaskOptions.submit": "options.submit(abs, 1)",
    "acall": "go(cmpi.acall(pid, 1))",
    "aresult": "go(cmpi.aresult(pid))",
    "aspawn": "go(cmpi.aspawn(print))",
    "await_exit": "go(cmpi.await_exit(pid))",
    "call": "cmpi.call(pid, 1)",
    "capacity": "cmpi.capacity()",
    "deadline": "cmpi.deadline()",
    "init": "cmpi.init()",
    "kill": "cmpi.kill(pid)",
    "link": "cmpi.link(pid)",
    "monitor": "cmpi.monitor(pid)",
    "on_deadline": "cmpi.on_deadline(print)",
    "parent": "cmpi.parent()",
    "pid": "cmpi.pid()",
    "preload": "cmpi.preload('json')",
    "register": "cmpi.register('x')",
    "resources": "cmpi.resources()",
    "restart_child": "cmpi.restart_child(pid, 0)",
    "result": "cmpi.result(pid)",
    "run": "cmpi.run(int, n=1)",
    "select": "select(receiver)",
    "spawn": "spawn(print)",
    "spawn_group": "cmpi.spawn_group(1, print)",
    "start_child": "cmpi.start_child(pid, cmpi.Child(print))",
    "supervise": "cmpi.supervise([cmpi.Child(print)])",
    "terminate_child": "cmpi.terminate_child(pid, 0)",
    "trap_exits": "cmpi.trap_exits()",
    "try_spawn": "cmpi.try_spawn(print)",
    "unlink": "cmpi.unlink(pid)",
    "unregister": "cmpi.unregister('x')",
    "wait": "cmpi.wait(pid)",
    "whereis": "cmpi.whereis('x')",
    "which_children": "cmpi.which_children(pid)",
    "world": "cmpi.world()",
}
NOT_REFUSED = {
    *("Receiver.name", "Receiver.pid", "Sender.name", "Sender.pid", "NamedSender.pid"),  # constants
    *("PoolFuture.cancel", "PoolFuture.output", "ProcessPool.max_workers"),  # copies from before the fork
    *("ProcessPool.statistics", "ProcessPool.options", "TaskOptions.options"),
    *(
        "Mailbox.readable",
        "Notices.next",
        "Notices.over",
        "Notices.told",
        "Notices.waited_for",
    ),  # for select
    "Call.accept",  # for mailboxes
    *("Job.close", "Job.failures"),  # a rank has no Job: see test_guests.py
}


def test_the_refused_calls_are_all_that_there_are():
    assert sorted({*CALLS, *NOT_REFUSED}) == sorted(public_calls.calls())


def test_every_call_of_a_forked_child_is_refused_and_does_no_harm(program):
    out = program(f"""
def echo(parent):
    sender = Sender(parent)
    for value in Receiver(parent): sender.send(value)
def asks(parent): cmpi.call(parent, "x", timeout=None)
go, pid, asker = asyncio.run, spawn(echo), spawn(asks)
sender, receiver, notices = Sender(pid), Receiver(pid), cmpi.monitor(pid)
many, broadcast = Receiver.any([pid], name="many"), Sender.broadcast([pid], name="broadcast")
mailbox = cmpi.Mailbox()
question = mailbox.recv()
named = Sender.to(pid)
named.send(0)
pool = cmpi.ProcessPool(1)
options, future = pool.options(retries=1), pool.submit(time.sleep, 1000)
while not pool.statistics().running: time.sleep(0.01)
sender.send(0); print(receiver.recv())
read, write = os.pipe()
if os.fork() == 0:
    signal.alarm(20)  # a call that waits
    others = {{name: found for name, text in {CALLS!r}.items()
              if (found := error_of(eval, text, globals())) != "NotRunning"}}
    os.write(write, str(others).encode()); os._exit(0)
os.close(write); os.wait(); print(os.read(read, 5000).decode())
sender.send(2); print(receiver.recv())
question.reply(); print(cmpi.wait(asker))
future.kill(); print(pool.submit(abs, -3).result())
pool.shutdown(); sender.close()
""")
    assert out == "0\n{}\n2\n0\n3\n"


SUBINTERPRETER = """
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
def inside():
    read, write = os.pipe()
    interpreter = interpreters.create()
    failed = interpreters.run_string(interpreter, f'''
import os, sys
sys.path[:] = {sys.path}
for name in "cmpi", "cmpi.data", "cmpi._transport.pickling":
    try: __import__(name)
    except ImportError as error: os.write({write}, (error.msg + "\\\\n").encode())
''')
    interpreters.destroy(interpreter)
    os.close(write); print(failed, set(os.read(read, 5000).decode().splitlines())); os.close(read)
"""


def test_a_subinterpreter_cannot_import_cmpi_and_does_the_main_one_no_harm(program):
    out = program(f"""
{SUBINTERPRETER}
inside()  # before the process has joined
def echo(parent):
    sender = Sender(parent)
    for value in Receiver(parent): sender.send(value)
pid = spawn(echo)
sender, receiver = Sender(pid), Receiver(pid)
sender.send(0); inside(); print(receiver.recv())
for i in range(1000): sender.send(i); assert receiver.recv() == i
sender.close(); print(cmpi.wait(pid))
""")
    refused = '{"cmpi works in a process\'s main interpreter only, and this is a subinterpreter"}'
    assert out == f"None {refused}\nNone {refused}\n0\n0\n"


def test_calls_after_mpi_finalize_are_refused(program):
    out = program("""
from mpi4py import MPI
pid = spawn(lambda parent: None)
sender, receiver = Sender(pid), Receiver(pid)
MPI.Finalize()
calls = [lambda: sender.send(1), receiver.recv, receiver.try_recv, lambda: select(receiver), cmpi.capacity,
         lambda: spawn(print), lambda: cmpi.wait(pid), lambda: Sender(pid, name="x"), sender.statistics]
print({error_of(call) for call in calls})
""")
    assert out == "{'NotRunning'}\n"


def test_a_message_whose_unpickling_ends_loops_is_an_error(program):
    out = program("""
class Ends:
    def __init__(self, error): self.error = error
    def __reduce__(self): return raise_, (self.error,)
def raise_(error): raise error
def sends(parent):
    with Sender(parent) as out:
        for error in cmpi.EndOfChannel("no"), StopIteration(): out.send(Ends(error)); out.send(1)
receiver = Receiver(spawn(sends))
print(error_of(list, receiver), error_of(receiver.recv), error_of(receiver.recv), list(receiver))
""")
    assert out == "RuntimeError 1 RuntimeError [1]\n"


def test_invalid_pids_names_and_arguments_are_refused_before_sending(program):
    out = program("""
print(error_of(Sender, None), error_of(Receiver, None), error_of(cmpi.Pid, -1))
try: Sender(None)
except cmpi.UsageError as error: print(str(error).endswith("Did whereis() find nobody?"))
print(error_of(Sender, cmpi.Pid(1), name="x" * 20_000_000), error_of(cmpi.register, "x" * (20 << 20)))
os.environ["BIG"] = "x" * 100_000
sys.argv.append("x" * (20 << 20))
print(error_of(spawn, print))
del sys.argv[-1]
print(cmpi.wait(spawn(lambda parent: None)))
""")
    assert out == "UsageError UsageError UsageError\nTrue\nUsageError UsageError\nUsageError\n0\n"


def test_a_finalizer_inside_a_call_is_refused(program):
    out = program("""
from cmpi._runtime.process import context
pid = spawn(lambda parent: list(Receiver(parent)))
sender, receiver, found = Sender(pid), Receiver(pid), []
sender.send(0)
with context.current().lock:  # as a finalizer finds it that the garbage collector calls in there
    calls = [lambda: sender.send(1), lambda: sender.try_send(1), receiver.recv, receiver.try_recv,
             lambda: select(receiver), lambda: cmpi.wait(pid), cmpi.capacity, lambda: Sender(pid, name="x")]
    found = {error_of(call) for call in calls}
print(found)
sender.send(2); sender.close(); print(cmpi.wait(pid))
""")
    assert out == "{'UsageError'}\n0\n"


def test_handlers_may_call_cmpi_while_the_main_thread_is_inside_it(program):
    out = program("""
import signal
def counts(parent):
    with Sender(parent) as out: out.send(sum(1 for _ in Receiver(parent, name="b")))
ended = spawn(lambda parent: None); cmpi.wait(ended)
pid = spawn(counts)
a, b = Sender(pid, name="a", capacity=10**6), Sender(pid, name="b", capacity=10**6)
def handler(*_):
    cmpi.kill(ended); b.try_send(1)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.001)
while b.statistics().messages < 100: a.send("x"); cmpi.kill(ended)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
b.close(); print(Receiver(pid).recv() == b.statistics().messages, signal.getsignal(signal.SIGALRM).name)
""")
    assert out == "True SIG_IGN\n"
