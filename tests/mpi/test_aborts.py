"""A crash never looks like a clean end: what a peer sees when an exception ends a channel."""

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import asyncio, cmpi, sys, threading
from cmpi import Receiver, Sender, select, spawn

def read(pid, **options):
    "What arrives, and how it ends."
    got = []
    try:
        for value in Receiver(pid, **options): got.append(value)
        return got, "end"
    except cmpi.PeerExited as error: return got, f"exited {error.status}"
    except cmpi.PeerFailed as error: return got, f"failed {error.cause}"

def risky(i):
    if i == 2: raise ValueError("bad row")
    return i
"""


def test_a_process_that_fails_with_open_senders_is_an_error_with_its_status(job):
    result = job(
        PRELUDE
        + """
def in_with(parent):
    with Sender(parent) as out:
        for i in range(4): out.send(risky(i))
def local(parent):
    out = Sender(parent)
    for i in range(4): out.send(risky(i))
def temporary(parent):
    Sender(parent).send(risky(2))
def wrapped(parent):
    try: in_with(parent)
    except ValueError: raise KeyError("wrapped") from None
def exits(parent):
    with Sender(parent) as out: out.send(1); sys.exit(3)
def exits_outside(parent):
    out = Sender(parent); out.send(1); sys.exit(4)
def exits_in_order(parent):
    with Sender(parent) as out: out.send(1); sys.exit()
def interrupted(parent):
    with Sender(parent) as out: raise KeyboardInterrupt
for f in in_with, local, temporary, wrapped, exits, exits_outside, exits_in_order, interrupted:
    print(f.__name__, *read(spawn(f)))
"""
    )
    assert result.out.splitlines() == [
        "in_with [0, 1] exited 1: ValueError: bad row",
        "local [0, 1] exited 1: ValueError: bad row",
        "temporary [] exited 1: ValueError: bad row",
        "wrapped [0, 1] exited 1: KeyError: 'wrapped'",
        "exits [1] exited 3",
        "exits_outside [1] exited 4",
        "exits_in_order [1] end",
        "interrupted [] exited signal 2 (SIGINT): KeyboardInterrupt",
    ], result


def test_a_rank_that_fails_is_an_error_with_its_status(job):
    text = """
def reads(parent):
    print(*read(parent))
with Sender(spawn(reads)) as out:
    for i in range(4): out.send(risky(i))
"""
    result = job(PRELUDE + text)
    assert result.out == "[0, 1] exited 1: ValueError: bad row\n", result


def test_a_process_that_lives_on_tells_which_exception_ended_the_channel(program):
    out = program("""
def caught(f):
    try: f()
    except (ValueError, asyncio.CancelledError): pass
def fails(parent):
    def in_with():
        with Sender(parent, name="with") as out: out.send(0); risky(2)
    def file():
        with Sender[bytes](parent, name="file").makefile() as out:
            out.write(b"sent"); out.flush(); out.write(b"not sent"); risky(2)
    def broadcast():
        with Sender.broadcast([parent], name="broadcast") as out: out.send(0); risky(2)
    def local():
        out = Sender(parent, name="local"); out.send(0); risky(2)
    def temporary():
        Sender(parent, name="temporary").send(risky(2))
    async def in_async_with():
        async with Sender(parent, name="async") as out: await out.asend(0); risky(2)
    async def cancelled(waits):
        async with Sender(parent, name="cancelled") as out:
            await out.asend(0); waits.set(); await asyncio.get_running_loop().create_future()
    async def cancels():
        waits = asyncio.Event(); task = asyncio.create_task(cancelled(waits))
        await waits.wait(); task.cancel(); await task
    threading.excepthook = lambda args: None
    thread = threading.Thread(target=local); thread.start(); thread.join()
    for f in in_with, file, broadcast, temporary: caught(f)
    caught(lambda: asyncio.run(in_async_with())); caught(lambda: asyncio.run(cancels()))
    with Sender(parent, name="order") as out: out.send("lives on")
    Receiver(parent, name="done").recv()
pid = spawn(fails)
for name in "with", "file", "broadcast", "local", "temporary", "async", "cancelled", "order":
    got, end = read(pid, name=name)
    print(name, got, end.partition(" in ")[0])
Sender(pid, name="done").send(0)
""")
    assert out.splitlines() == [
        "with [0] failed ValueError: bad row",
        "file [b'sent'] failed ValueError: bad row",
        "broadcast [0] failed ValueError: bad row",
        "local [0] failed an exception caught",
        "temporary [] failed an exception",
        "async [0] failed ValueError: bad row",
        "cancelled [0] failed CancelledError",
        "order ['lives on'] end",
    ]


def test_a_reader_that_fails_makes_the_writer_see_the_failure(program):
    out = program("""
def fails(parent):
    def in_with(name):
        with Receiver(parent, name=name) as r: r.recv(); risky(2)
    def any():
        with Receiver.any([parent], name="any") as r: r.recv(); risky(2)
    async def in_async_with():
        async with Receiver(parent, name="async") as r: await r.arecv(); risky(2)
    def file():
        with Receiver[bytes](parent, name="file").makefile() as r: r.read(1); risky(2)
    blocked, select = (lambda: in_with("blocked")), (lambda: in_with("select"))
    for f in blocked, select, any, file, lambda: asyncio.run(in_async_with()):
        try: f()
        except ValueError: pass
    Receiver(parent, name="done").recv()
pid = spawn(fails)
for name in "blocked", "select", "any", "file", "async":
    sender = Sender[bytes](pid, name=name, capacity=2)
    try:
        while True: select(sender.sending(b"x")) if name == "select" else sender.send(b"x")
    except cmpi.PeerFailed as error: print(name, error.pid == pid, error.cause)
    try: sender.send(b"x")
    except cmpi.PeerFailed as error: pass
Sender(pid, name="done").send(0)
""")
    assert out.splitlines() == [
        f"{name} True ValueError: bad row" for name in ("blocked", "select", "any", "file", "async")
    ]


def test_channels_left_open_by_a_failed_program_add_no_messages(job):
    text = """
import cmpi
def child(parent):
    for _ in cmpi.Receiver(parent): pass
pid = cmpi.spawn(child)
ends = [(cmpi.Sender(pid), cmpi.Receiver(pid))]
ends[0][0].send(1)
raise KeyError("of the program's own")
"""
    result = job(text)
    assert result.code == 1 and "KeyError" in result.err, result
    assert "__del__" not in result.err and "ignored" not in result.err, result
