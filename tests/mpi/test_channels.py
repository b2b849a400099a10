"""Channels between real processes: what the documentation promises about their meaning."""

import pytest

PRELUDE = """
import cmpi, os, time, sys, threading
import numpy as np
from cmpi import Receiver, Sender, spawn, wait
"""


@pytest.fixture
def program(job):
    def run(text, *arguments, **kwargs):
        result = job(PRELUDE + text, *arguments, **kwargs)
        assert result.code == 0, result
        return result.out

    return run


def test_objects_arrive_once_and_in_order(program):
    out = program("""
def child(parent):
    with Sender(parent) as s:
        for i in range(5000): s.send((i, "x" * (i % 7)))
got = list(Receiver(spawn(child)))
print(got == [(i, "x" * (i % 7)) for i in range(5000)])
""")
    assert out == "True\n"


def test_arrays_of_any_size_layout_and_type(program):
    out = program("""
def echo(parent):
    s = Sender(parent)
    for a in Receiver(parent): s.send(a)
p = spawn(echo, resources=cmpi.Resources(memory="1 GiB"))
s, r = Sender(p), Receiver(p)
arrays = [np.zeros(0), np.arange(10), np.arange(3_000_000, dtype=np.float64).reshape(1000, 3000),
          np.asfortranarray(np.arange(500_000.0).reshape(500, 1000)), np.arange(200_000)[::2],
          np.array(["a", None], dtype=object), np.zeros(100_000, dtype=[("x", "f4"), ("y", "i8")]),
          np.array(5.0)]
for a in arrays:
    s.send(a)
    b = r.recv()
    assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all() and b.flags.writeable, a.shape
big = {"a": np.arange(30_000_000, dtype=np.uint8), "b": b"z" * 5_000_000, "c": [1, 2]}
s.send(big); got = r.recv()
assert (got["a"] == big["a"]).all() and got["b"] == big["b"] and got["c"] == [1, 2]
s.close(); print(wait(p))
""")
    assert out == "0\n"


def test_a_sent_value_is_a_copy_of_that_moment(program):
    out = program("""
def child(parent):
    r = Receiver(parent)
    time.sleep(0.2)
    Sender(parent).send([float(r.recv().sum()) for _ in range(2)])
p = spawn(child)
s = Sender(p)
a = np.ones(1_000_000)
s.send(a); a[:] = 2; s.send(a); a[:] = 3
print(Receiver(p).recv())
""")
    assert out == "[1000000.0, 2000000.0]\n"


def test_messages_sent_before_the_receiver_exists_are_kept(program):
    out = program("""
def child(parent):
    time.sleep(0.3)
    print(Receiver(parent, name="late").recv(), Receiver(parent).recv())
p = spawn(child)
Sender(p).send("first"); Sender(p, name="late").send("second")
print(wait(p))
""")
    assert out == "second first\n0\n"


def test_messages_sent_before_a_normal_exit_arrive_even_if_read_late(program):
    out = program("""
def child(parent):
    s = Sender(parent)
    for i in range(500): s.send(i)
    s.send(np.arange(1_000_000))
p = spawn(child)
time.sleep(0.5)
r = Receiver(p)
print(sum(r.recv() for _ in range(500)), r.recv().sum())
try: r.recv()
except cmpi.EndOfChannel as e: print("end")
print(wait(p))
""")
    assert out == "124750 499999500000\nend\n0\n"


def test_a_slow_reader_stops_its_sender_and_memory_stays_bounded(program):
    out = program("""
def child(parent):
    s = Sender(parent)
    block = b"x" * 60_000
    n = 0
    while s.try_send(block): n += 1
    Sender(parent, name="n").send(n)
    try: s.send(block, timeout=0.1)
    except TimeoutError: Sender(parent, name="timeout").send("no room")
    for _ in range(700): s.send(block)
    s.close()
p = spawn(child)
n = Receiver(p, name="n").recv()
print(10 < n < 600, Receiver(p, name="timeout").recv())
print(len(list(Receiver(p))) == n + 700)
""")
    assert out == "True no room\nTrue\n"


def test_try_recv_returns_at_once_and_recv_respects_its_timeout(program):
    out = program("""
def child(parent):
    Receiver(parent).recv(); Sender(parent).send(1)
p = spawn(child); r = Receiver(p)
print(r.try_recv(), r.try_recv("nothing"))
t = time.monotonic()
try: r.recv(timeout=0.1)
except TimeoutError as e: print(0.09 < time.monotonic() - t < 2)
Sender(p).send(0)
print(r.recv(timeout=20))
""")
    assert out == "None nothing\nTrue\n1\n"


def test_close_ends_the_iteration_and_the_channel_can_be_opened_again_with_another_type(program):
    out = program("""
def child(parent):
    with Sender[int](parent) as s: s.send(1); s.send(2)
    with Sender[str](parent) as s: s.send("three")
p = spawn(child)
print(list(Receiver[int](p)), list(Receiver[str](p)))
""")
    assert out == "[1, 2] ['three']\n"


def test_a_closed_receiver_stops_its_sender(program):
    out = program("""
def child(parent):
    s = Sender(parent)
    try:
        while True: s.send(1); time.sleep(0.001)
    except cmpi.PeerClosed: Sender(parent, name="end").send("stopped")
p = spawn(child)
with Receiver(p) as r: r.recv()
print(Receiver(p, name="end").recv())
try: r.recv()
except cmpi.ChannelClosed: print("closed")
""")
    assert out == "stopped\nclosed\n"


def test_dropping_a_sender_or_receiver_closes_it(program):
    out = program("""
import gc
def sends(parent):
    Sender(parent).send(1)                      # with its last reference
    again = Sender(parent, name="cycle"); again.send(2)
    again.itself = again
    del again
    gc.collect()                                # by the garbage collector
    Receiver(parent, name="end").recv()
p = spawn(sends)
print([list(Receiver(p, name=name)) for name in ("", "cycle")])
Sender(p, name="end").send(0)
print(wait(p))

def sends_on(parent):
    with Sender(parent) as s:
        try:
            while True: s.send(0)
        except cmpi.PeerClosed: print("closed", flush=True)
p = spawn(sends_on)
Receiver(p).recv()
print(wait(p))

def counts(parent):
    print([Receiver(parent).recv() for _ in range(3)])
p = spawn(counts)
for i in range(3): Sender(p).send(i)            # each a channel of its own
print(wait(p))
""")
    assert out == "[[1], [2]]\n0\nclosed\n0\n[0, 1, 2]\n0\n"


def test_processes_whose_end_was_reported_are_forgotten(program):
    out = program("""
from cmpi._runtime.process import context
def child(parent, late):
    with Sender(parent, name="late") as s: s.send(late)
    for x in Receiver(parent): Sender(parent, name="answer").send(x)
pids = []
for i in range(20):
    p = spawn(child, i)
    with Sender(p) as s: s.send(i)
    assert Receiver(p, name="answer").recv() == i
    assert wait(p).ok
    pids.append(p)
kept = len(list(context.current().peers))
print([Receiver(p, name="late").recv() for p in pids] == list(range(20)), kept >= 20)
time.sleep(2.5)
print(len(list(context.current().peers)))
try: Sender(pids[0]).send(1)
except cmpi.PeerExited as error: print(error.status)
try: Receiver(pids[0], name="late").recv()
except cmpi.PeerExited as error: print(error.status)
""")
    assert out == "True True\n0\n0\n0\n"


@pytest.mark.parametrize("size", [10, 30_000_000])
def test_the_peers_death_is_an_error_on_both_ends_with_its_status(job, size):
    text = """
import os
def child(parent):
    s = Sender(parent); s.send("ready")
    Receiver(parent, name="go").recv()
    os._exit(3)
p = spawn(child)
r, s = Receiver(p), Sender(p)
print(r.recv()); Sender(p, name="go").send(0)
try: r.recv()
except cmpi.PeerExited as e: print("recv", e.pid == p, e.status.code)
try:
    while True: s.send(b"x" * int(sys.argv[1]))
except cmpi.PeerExited as e: print("send", e.status.code)
try: Receiver(p, name="new").recv()
except cmpi.PeerExited as e: print("new", e.status.code)
"""
    result = job(PRELUDE + text, str(size))
    assert (result.code, result.out) == (0, "ready\nrecv True 3\nsend 3\nnew 3\n"), result


def test_a_blocked_sender_is_told_of_the_peers_death(job):
    text = """
def child(parent):
    time.sleep(0.4); os._exit(4)
p = spawn(child); s = Sender(p)
try:
    while True: s.send(b"x" * 50_000)
except cmpi.PeerExited as e: print(e.status.code)
"""
    result = job(PRELUDE + text)
    assert (result.code, result.out) == (0, "4\n"), result


def test_an_exception_at_the_other_end_is_no_orderly_close(job):
    text = """
def child(parent):
    s = Sender(parent); s.send(1); raise ValueError("broken")
try: print(list(Receiver(spawn(child))))
except cmpi.PeerExited as e: print(e.status)
"""
    result = job(PRELUDE + text)
    assert (result.code, result.out) == (0, "1: ValueError: broken\n"), result


def test_connections_of_short_lived_processes_leave_nothing_for_the_next(program):
    """A frame that both ends had left unread in a freed connection once turned up in a later one."""
    out = program("""
def child(parent, i):
    Sender(parent).send(i)
    return Receiver(parent).recv() == -i or sys.exit(9)
small = cmpi.Resources()
for batch in range(4):
    pids = [spawn(child, batch * 10 + i, resources=small) for i in range(10)]
    for p, i in zip(pids, range(10)): Sender(p).send(-(batch * 10 + i))
    print(*(Receiver(p).recv() for p in pids))
    assert all(cmpi.wait(p).ok for p in pids)
""")
    assert [int(word) for word in out.split()] == list(range(40))


def test_capacity_bounds_messages_in_flight_and_statistics_show_them(program):
    assert (
        program("""
def reader(parent):
    go = Receiver(parent, name="go")
    go.recv(); a = Receiver(parent, name="three"); b = Receiver(parent, name="bytes")
    Sender(parent).send([next(iter(a)), len(list(a)), len(list(b)), a.statistics().messages])
p = spawn(reader)
three, by_bytes = Sender(p, name="three", capacity=3), Sender(p, name="bytes", capacity="10 KiB")
n = 0
while three.try_send(n): n += 1
m = 0
while by_bytes.try_send(bytes(4000)): m += 1
print(n, m, three.statistics().messages, three.statistics().waiting, by_bytes.statistics().credit < 4000)
Sender(p, name="go").send(0)
for i in range(50): three.send(i)
three.close(); by_bytes.close()
print(Receiver(p).recv())
for wrong in (0, -1, "much", 1.5):
    try: Sender(p, name="x", capacity=wrong)
    except cmpi.UsageError as e: print(type(e).__name__)
""")
        == "3 2 3 0 True\n[0, 52, 2, 53]\nUsageError\nUsageError\nUsageError\nUsageError\n"
    )


def test_a_second_end_names_the_line_of_the_first(program):
    out = program("""
p = spawn(lambda parent: Receiver(parent).recv())
first = Sender(p)
for make in (lambda: Sender(p), lambda: Sender(cmpi.pid()), lambda: Receiver(cmpi.pid())):
    try: make()
    except cmpi.ChannelExists as e: print("job.py:7" in str(e) or "itself" in str(e))
other = Sender(p, name="other"); r = Receiver(p)
first.send(0)
""")
    assert out == "True\nTrue\nTrue\n"


def test_contracts_are_checked_on_send_and_compared_by_both_ends(job):
    text = """
def child(parent):
    s = Sender[int](parent)
    try: s.send("text")
    except cmpi.ContractMismatch as e: print("send:", e, flush=True)
    try:
        while True: s.send(1); time.sleep(0.01)
    except cmpi.ContractMismatch as e: print("sender:", "str" in str(e) and "job.py" in str(e))
p = spawn(child)
r = Receiver[str](p)
try: r.recv()
except cmpi.ContractMismatch as e: print("receiver:", "int" in str(e) and "job.py:" in str(e), flush=True)
wait(p)
"""
    result = job(PRELUDE + text)
    assert result.code == 0, result
    assert "send: the channel carries int; found str: 'text'" in result.out
    assert "receiver: True" in result.out and "sender: True" in result.out, result


def test_ends_cannot_be_pickled_by_mistake(program):
    out = program("""
p = spawn(lambda parent: Receiver(parent).recv())
s = Sender(p)
try: spawn(lambda parent: s)
except cmpi.NotPicklable as e: print("'s'" in str(e) and "send the Pid" in str(e))
try: s.send(s)
except cmpi.NotPicklable as e: print("send the Pid" in str(e))
s.send(p)
""")
    assert out == "True\nTrue\n"


def test_two_threads_at_one_end_raise_an_error(program):
    out = program("""
p = spawn(lambda parent: Receiver(parent).recv())
r = Receiver(p)
def reader():
    try: r.recv(timeout=5)
    except (TimeoutError, cmpi.EndOfChannel, cmpi.PeerExited): pass
t = threading.Thread(target=reader); t.start(); time.sleep(0.1)
try: r.recv()
except cmpi.ChannelBusy as e: print("busy")
Sender(p).send(0); t.join()
""")
    assert out == "busy\n"


def test_many_channels_work_in_many_threads(program):
    out = program("""
def child(parent):
    def echo(i):
        s = Sender(parent, name=str(i))
        for x in Receiver(parent, name=str(i)): s.send(x + 1)
    threads = [threading.Thread(target=echo, args=(i,)) for i in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
p = spawn(child)
ok = []
def talk(i):
    s, r = Sender(p, name=str(i)), Receiver(p, name=str(i))
    for x in range(100):
        s.send(x); ok.append(r.recv() == x + 1)
    s.close()
threads = [threading.Thread(target=talk, args=(i,)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(ok), all(ok))
""")
    assert out == "800 True\n"


def test_plain_mpi_calls_work_beside_channels(program):
    out = program("""
from mpi4py import MPI
w = MPI.COMM_WORLD
other = cmpi.world()[1 - w.rank]
s, r = Sender(other), Receiver(other)
total = 0
for i in range(200):
    s.send(np.full(1000, i)); total += int(w.allreduce(np.ones(1))[0]); total += int(r.recv()[0])
print(total)
""", options=("-n", "2"))  # fmt: skip
    assert out == "20300\n20300\n"


def test_a_program_may_finalize_mpi_itself(program):
    out = program("""
from mpi4py import MPI
p = spawn(lambda parent: print(len(Receiver(parent).recv())))
Sender(p).send(b"x" * 100_000)
MPI.Finalize()
print("done")
""")
    assert sorted(out.splitlines()) == ["100000", "done"]


def test_an_idle_receiver_uses_almost_no_cpu_time(program):
    out = program("""
def child(parent): Receiver(parent).recv()
p = spawn(child); s = Sender(p, name="unused"); s.send(0)
time.sleep(0.3)
import psutil
me = psutil.Process(); before = sum(me.cpu_times()[:2])
try: Receiver(p).recv(timeout=2)
except TimeoutError: pass
print((sum(me.cpu_times()[:2]) - before) / 2 < 0.2)
Sender(p).send(0)
""")
    assert out == "True\n"


def test_a_sent_message_arrives_even_if_the_sender_holds_the_gil(job):
    """mpi4py's `allreduce` of objects keeps the GIL while it waits, here for the process that receives the
    message."""
    text = """
import cmpi
from mpi4py import MPI
world = MPI.COMM_WORLD
others = [pid for pid in cmpi.world() if pid != cmpi.pid()]
for pid in others:
    cmpi.Sender(pid).send(world.rank)
if world.rank == 2:
    total = sum(cmpi.Receiver(pid).recv(timeout=20) for pid in others)
print(world.allreduce(1))
"""
    result = job(text, options=("-n", "3"))
    assert (result.code, result.out) == (0, "3\n" * 3), result
