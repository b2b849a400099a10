"""Calls from places where cmpi cannot serve them: they raise an error, and never hang or give a wrong
result."""

PRELUDE = """
import cmpi, os, pickle, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
from cmpi import Receiver, Sender, select, spawn
def error_of(call, *args, **kwargs):
    try: return call(*args, **kwargs)
    except Exception as error: return type(error).__name__
"""


def test_a_forked_child_is_refused_and_does_no_harm(program):
    out = program("""
def echo(parent):
    sender = Sender(parent)
    for value in Receiver(parent): sender.send(value)
pid = spawn(echo)
sender, receiver = Sender(pid), Receiver(pid)
sender.send(0); print(receiver.recv())
read, write = os.pipe()
if os.fork() == 0:
    calls = [lambda: sender.send(1), lambda: sender.try_send(1), lambda: sender.sending(1).sender.send(1),
             receiver.recv, receiver.try_recv, lambda: select(receiver), lambda: select(sender.sending(1)),
             sender.statistics, receiver.statistics, sender.close, receiver.close, cmpi.pid, cmpi.capacity,
             lambda: cmpi.wait(pid), lambda: cmpi.kill(pid), lambda: spawn(echo),
             lambda: Sender(pid, name="x")]
    os.write(write, " ".join({error_of(call) for call in calls}).encode()); os._exit(0)
os.wait(); print(os.read(read, 1000).decode())
sender.send(2); print(receiver.recv())
""")
    assert out == "0\nNotRunning\n2\n"


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
