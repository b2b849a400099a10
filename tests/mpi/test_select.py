"""Selecting among channels, fan-in and fan-out, with real jobs."""

PRELUDE = """
import collections, cmpi, os, sys, time
import numpy as np
from cmpi import Receiver, Sender, select, spawn, wait
small = cmpi.Resources()
def flood(parent, value):
    s = Sender(parent)
    try:
        while True: s.send(value)
    except (cmpi.PeerClosed, cmpi.PeerExited): pass
def give(parent, n, value):
    s = Sender(parent)
    for _ in range(n): s.send(value)
"""


def test_select_completes_only_the_first_ready_operation(program):
    assert (
        program("""
def later(parent, delay):
    time.sleep(delay); Sender(parent).send(delay)
pids = [spawn(later, d, resources=small) for d in (0.6, 0.1)]
rs = [Receiver(p) for p in pids]
print(select(*rs, default="none").value)
try: select(*rs, timeout=0.01)
except TimeoutError as e: print(e)
got = select(*rs); print(got.operation is rs[1], got.value)
print(select(rs[0]).value)
""")
        == "none\nnothing was ready within 0.01 s\nTrue 0.1\n0.6\n"
    )


def test_select_is_fair_under_load(program):
    out = program("""
rs = {Receiver(spawn(flood, i, resources=small)): i for i in range(4)}
for r in rs: r.recv()
time.sleep(0.3)
counts = collections.Counter(select(*rs).value for _ in range(2000))
print(sorted(counts.values()))
for r in rs: r.close()
""")
    shares = eval(out)
    assert len(shares) == 4 and min(shares) > 450 and max(shares) < 550, shares


def test_select_handles_hundreds_of_channels(program):
    assert (
        program("""
p = spawn(lambda parent: [Sender(parent, name=str(i)).send(i) for i in range(300)])
rs = [Receiver(p, name=str(i)) for i in range(300)]
got = set()
for _ in range(300):
    done = select(*rs); rs.remove(done.operation); got.add(done.value)
print(got == set(range(300)))
""")
        == "True\n"
    )


def test_select_chooses_a_send_once_there_is_credit(program):
    assert (
        program("""
def slow(parent):
    r = Receiver(parent)
    Receiver(parent, name="go").recv()
    Sender(parent).send(sum(len(x) for x in r))
p = spawn(slow)
s, back = Sender(p), Receiver(p)
sent = 0
try:
    while True:
        assert select(back, s.sending(bytes(1_000_000)), timeout=0.3).operation is not back
        sent += 1
except TimeoutError: print(sent > 2)
Sender(p, name="go").send(0)
done = select(back, s.sending(bytes(1_000_000))); sent += 1
s.close()
print(done.value, select(back).value == sent * 1_000_000)
""")
        == "True\nNone True\n"
    )


def test_an_error_in_select_names_its_operation(program):
    assert (
        program("""
a, b = spawn(lambda parent: time.sleep(60)), spawn(lambda parent: time.sleep(60))
ra, rb = Receiver(a), Receiver(b)
cmpi.kill(b)
try: select(ra, rb)
except cmpi.PeerExited as e: print(e.operation is rb, e.status.signal)
cmpi.kill(a)
try: select(ra, ra)
except cmpi.ChannelBusy: print("busy")
try: print(ra.try_recv("free again"))
except cmpi.PeerExited: print("free again")
try: select()
except cmpi.UsageError as e: print("nothing" if "something to wait for" in str(e) else e)
""")
        == "True 9\nbusy\nfree again\nnothing\n"
    )


def test_fan_in_accepts_new_receivers_and_ends_with_the_last(program):
    assert (
        program("""
pids = [spawn(give, 5, i, resources=small) for i in range(3)]
merged = Receiver[int].any(pids)
late = spawn(give, 5, 9, resources=small); merged.add(late)
got = collections.Counter(merged)
print(sorted((pids + [late]).index(pid) for pid, _ in got), sorted(got.values()))
""")
        == "[0, 1, 2, 3] [5, 5, 5, 5]\n"
    )


def test_fan_out_serialises_once(program):
    assert (
        program("""
class Counted:
    count = 0
    def __reduce__(self):
        Counted.count += 1
        return (str, ("value",))
def read(parent): Sender(parent).send(Receiver(parent).recv())
pids = [spawn(read, resources=small) for _ in range(4)]
everybody = Sender.broadcast(pids)
everybody.send(Counted())
print(Counted.count, [Receiver(p).recv() for p in pids])
def total(parent): Sender(parent).send(float(Receiver(parent).recv().sum()))
pids = [spawn(total, resources=small) for _ in range(3)]
everybody = Sender[np.ndarray].broadcast(pids)
everybody.send(np.ones(1_000_000)); everybody.close()
print([Receiver(p).recv() for p in pids])
""")
        == "1 ['value', 'value', 'value', 'value']\n[1000000.0, 1000000.0, 1000000.0]\n"
    )
