"""Waits for input from a socket, which the waiting thread reads itself, and everything that ends them."""

OPTIONS = ("--shared-memory", "0")
PRELUDE = """\
import asyncio, os, signal, threading, time
import numpy as np
import cmpi
from cmpi import ChannelClosed, EndOfChannel, PeerExited, Receiver, Sender, select, spawn, wait
cmpi.init()
def asleep():
    "Until the main thread sleeps on sockets."
    from cmpi._runtime.process import context
    node = context.current()
    while True:
        with node.lock:
            if threading.main_thread().ident in node.state.socket_waits._innermost: return
        time.sleep(0.001)
"""


def test_the_progress_thread_sleeps_while_other_threads_wait(job):
    text = """
def child(parent):
    to = Sender(parent)
    for value in Receiver(parent): to.send(value)
p = spawn(child); to, of = Sender(p), Receiver(p)
def wakings():
    (thread,) = [t for t in threading.enumerate() if t.name == "cmpi-progress"]
    status = open(f"/proc/self/task/{thread.native_id}/status").read()
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])
def rounds(n):
    def send():
        for i in range(n):
            asleep()
            to.send(i)
            while i not in heard: time.sleep(0.001)
    heard = []
    thread = threading.Thread(target=send); thread.start()
    for i in range(n): heard.append(of.recv())
    thread.join()
    assert heard == list(range(n))
to.send(0); assert of.recv() == 0
rounds(3)
before = wakings()
rounds(30)
print(wakings() - before < 15)
to.close(); print(wait(p))
"""
    result = job(PRELUDE + text, options=OPTIONS)
    assert (result.code, result.out.split()) == (0, ["True", "0"]), result


def test_messages_credit_and_timeouts_work_beside_other_waits(job):
    text = """
def child(parent):
    orders, to, other = Receiver(parent), Sender(parent), Sender(parent, name="other")
    for order in orders:
        if order == "large": to.send(np.arange(3_000_000))
        elif order == "both": other.send("other"); to.send("first")
        elif order == "slow":
            time.sleep(0.2)
            assert [Receiver(parent, name="window").recv() for _ in range(1)] == [0]
            for i, message in enumerate(Receiver(parent, name="many")): assert message == i
            to.send(i)
        else: to.send(order)
p = spawn(child); to, of, other = Sender(p), Receiver(p), Receiver(p, name="other")
to.send(1); assert of.recv() == 1
try: of.recv(timeout=0.02)
except TimeoutError: print("timeout")
to.send("large"); assert of.recv().sum() == 3_000_000 * 2_999_999 // 2
heard = []
thread = threading.Thread(target=lambda: heard.append(other.recv()))
thread.start()
to.send("both"); assert of.recv() == "first"
thread.join(); print(heard)
def later(*orders):
    asleep()
    for order in orders: to.send(order)
threading.Thread(target=later, args=(2,)).start(); print(of.recv())
thread = threading.Thread(target=lambda: heard.append(other.recv())); thread.start()
to.send("both"); print(select(of).value); thread.join()
thread = threading.Thread(target=lambda: heard.append(other.recv())); thread.start()
to.send("both"); print(asyncio.run(of.arecv())); thread.join()
Sender(p, name="window").send(0)
to.send("slow")
with Sender(p, name="many", capacity=2) as many:
    for i in range(500): many.send(i)
print(of.recv())
to.close(); print(wait(p))
"""
    result = job(PRELUDE + text, options=OPTIONS)
    out = ["timeout", "['other']", "2", "first", "first", "499", "0"]
    assert (result.code, result.out.split()) == (0, out), result


def test_signal_handlers_interrupt_a_socket_wait_and_may_wait_themselves(job):
    text = """
def child(parent):
    to, other = Sender(parent), Sender(parent, name="other")
    for order in Receiver(parent):
        (other if order == "other" else to).send(order)
p = spawn(child); to, of, other = Sender(p), Receiver(p), Receiver(p, name="other")
to.send(1); assert of.recv() == 1
def later(*signals):
    for number in signals:
        asleep()
        os.kill(os.getpid(), number)
class Interrupted(Exception): pass
def interrupt(*_): raise Interrupted
def ask(*_):
    to.send("other"); print(other.recv())
    to.send("main")
signal.signal(signal.SIGUSR1, interrupt); signal.signal(signal.SIGUSR2, ask)
def long(*_): assert heard.wait(20)
signal.signal(signal.SIGALRM, long)
for _ in range(3):
    threading.Thread(target=later, args=(signal.SIGUSR1,)).start()
    try: of.recv()
    except Interrupted: print("interrupted")
    threading.Thread(target=later, args=(signal.SIGUSR2,)).start()
    print(of.recv())
heard = threading.Event()
def hear():  # while the main thread is in a handler, and had claimed the socket before
    while not heard.is_set():
        if other.recv() == "other": heard.set()
def interrupt_for_long():
    asleep()
    threading.Thread(target=hear).start()
    os.kill(os.getpid(), signal.SIGALRM)
    to.send("other"); heard.wait(); to.send("main")
threading.Thread(target=interrupt_for_long).start()
print(of.recv())
to.close(); print(wait(p))
"""
    result = job(PRELUDE + text, options=OPTIONS)
    out = [*["interrupted", "other", "main"] * 3, "main", "0"]
    assert (result.code, result.out.split()) == (0, out), result


def test_the_end_of_a_channel_or_process_ends_a_socket_wait(job):
    text = """
def child(parent):
    orders, to = Receiver(parent), Sender(parent)
    to.send(os.getpid())
    for order in orders:
        if order == "close": to.close()
    time.sleep(60)
def end(how):
    p = spawn(child); to, of = Sender(p), Receiver(p)
    number = of.recv()
    def later():
        asleep()
        if how == "close": to.send("close")
        elif how == "kill": os.kill(number, signal.SIGKILL)
        elif how == "cmpi": cmpi.kill(p)
        else: of.close()
    thread = threading.Thread(target=later); thread.start()
    try: of.recv()
    except (ChannelClosed, EndOfChannel, PeerExited) as error: print(type(error).__name__)
    thread.join()
    cmpi.kill(p)
for how in ("close", "kill", "cmpi", "own"): end(how)
"""
    result = job(PRELUDE + text, options=OPTIONS)
    assert result.out.split() == ["EndOfChannel", "PeerExited", "PeerExited", "ChannelClosed"], result


def test_a_deadlock_of_socket_waits_is_found(job):
    text = """
def child(parent):
    to, of = Sender(parent), Receiver(parent)
    to.send(1); of.recv(); of.recv()
p = spawn(child); to, of = Sender(p), Receiver(p)
of.recv(); to.send(1); of.recv()
"""
    result = job(PRELUDE + text, options=OPTIONS)
    assert result.code == 86 and "deadlock" in result.err, result
