"""Mailboxes: messages from any process, in order, across restarts; calls and their answers."""

PRELUDE = """
import asyncio, cmpi, os, signal, sys, threading, time
from cmpi import Call, Child, Mailbox, MessagesLost, Receiver, Sender, spawn, supervise, wait, whereis
def call(*args, timeout=30): return cmpi.call(*args, timeout=timeout)
"""


def test_a_mailbox_receives_from_processes_that_it_does_not_know(program):
    text = """
def client(parent, i):
    with Sender[int].to("sums") as out:
        for x in range(100): out.send(100 * i + x)
        out.flush()
early = [spawn(client, i) for i in range(2)]  # which wait for the name
nameless = spawn(lambda parent: Sender.to(parent).send("by pid"))
wait(nameless)
box, other = Mailbox[int]("sums"), Mailbox()
late = [spawn(client, i) for i in range(2, 4)]
found = {}
for _ in range(400):
    pid, x = box.recv_from(timeout=20)
    found.setdefault(pid, []).append(x)
print(sorted(found.values()) == [[100 * i + x for x in range(100)] for i in range(4)], len(found))
print(other.recv(), box.try_recv("nothing"))
try: box.recv(timeout=0.01)
except TimeoutError: print("in vain", [wait(p).code for p in early + late])
"""
    assert program(text).splitlines() == ["True 4", "by pid nothing", "in vain [0, 0, 0, 0]"]


def test_wrong_uses_of_mailboxes_are_refused(program):
    text = """
box = Mailbox[int]("sums")
def other(parent):
    for wrong in (lambda: Mailbox("sums"), lambda: Mailbox(""), lambda: Sender.to(None),
        lambda: Mailbox() and Mailbox()):
        try: wrong()
        except cmpi.CmpiError as error: print(type(error).__name__, flush=True)
    try:
        out = Sender[str].to("sums"); out.send("x"); out.flush()
    except cmpi.ContractMismatch: print("not of its type", flush=True)
    try: call("sums", 1)
    except cmpi.ContractMismatch: print("takes no calls", flush=True)
wait(spawn(other))
try: Sender.to("sums").send(1)
except cmpi.UsageError: print("its own")
box.close(); print(whereis("sums"))
try: box.recv()
except cmpi.ChannelClosed: print("closed", list(box))
"""
    assert program(text).splitlines() == [
        *("NameTaken", "UsageError", "UsageError", "ChannelExists"),
        *("not of its type", "takes no calls", "its own", "None", "closed []"),
    ]


SUPERVISED = """
def server(parent):
    for message in Mailbox("server"):
        if message == "die": os._exit(3)
        Sender.to("client").send((cmpi.pid(), message))
def boss(parent): supervise([Child(server, name="server")], max_restarts=9, within=9, backoff=(0, 0))
client, b = Mailbox("client"), spawn(boss)
out = Sender.to("server")
"""


def test_a_sender_to_a_name_continues_with_the_next_holder_and_reports_lost_messages(program):
    text = """
out.send(1)
first, x = client.recv(timeout=20); out.flush()
print(x, out.pid == first)
out.send("die"); out.send(2); out.send(3); wait(first)
lost = []
for x in (4, 5):
    try: out.send(x)
    except MessagesLost as error:
        lost.append((error.pid == first, error.status.code, error.count)); out.send(x)
print(lost)
second, x = client.recv(timeout=20)
print(x, second != first, client.recv(timeout=20)[1])
out.flush()
cmpi.kill(second); wait(second)  # which owes nothing
out.send(6); print(client.recv(timeout=20)[1])
out.send("die")
try: out.flush(timeout=20)
except MessagesLost as error: print(error.count)
cmpi.kill(b); wait(b)
"""
    assert program(SUPERVISED + text).splitlines() == [
        "1 True",
        "[(True, 3, 3)]",
        "4 True 5",
        "6",
        "1",
    ]


def test_a_cleanly_closed_mailbox_loses_nothing_and_frees_its_name(program):
    text = """
def holder(parent, n):
    with Mailbox("seat") as box:
        for _ in range(n): Sender(parent, name=str(_)).send(box.recv())
    Receiver(parent).recv()  # lives on without it
p = spawn(holder, 2)
out = Sender.to("seat")
out.send(1); out.send(2)
print(Receiver(p, name="0").recv(), Receiver(p, name="1").recv())
out.flush()
q = spawn(holder, 1)
while True:
    try: out.send(3, timeout=20); out.flush(timeout=20); break
    except MessagesLost as error: assert error.status is None, error  # sent just as the first one closed
print(Receiver(q, name="0").recv())
with Mailbox(): pass  # that one is closed has no bearing on other channels with reserved names
large = spawn(lambda parent, data: Sender(parent).send(len(data)), bytes(1 << 20))
print(Receiver(large).recv(timeout=20))
def clumsy(parent):
    try:
        with Mailbox("clumsy") as box: box.recv(); raise ValueError("x")
    except ValueError: pass
    Receiver(parent).recv()
r, owed = spawn(clumsy), Sender.to("clumsy")
owed.send(1)
try: owed.flush(timeout=20)
except MessagesLost as error: print(error.count, error.status, repr(error.__cause__)[:11])
for each in (p, q, r): Sender(each).send(0)
try: out.send(4, timeout=0.2)
except TimeoutError as error: print(error)
"""
    assert program(text).splitlines() == [
        "1 2",
        "3",
        "1048576",
        "1 None PeerFailed(",
        "nothing could be sent to seat within 0.2 s",
    ]


CALLED = """
def server(parent):
    n, kept = 0, []
    for c in Mailbox[Call]("counter"):
        if c.request == "add": n += 1; c.reply(n)
        elif c.request == "die": os._exit(0)
        elif c.request == "raise": c.fail(ValueError("no"))
        elif c.request == "keep": kept.append(c)
        elif c.request == "answer": kept.pop().reply("late"); c.reply()
        elif c.request == "drop": kept.clear(); c.reply()
        elif c.request == "twice":
            c.reply(c.sender)
            try: c.reply(1)
            except cmpi.UsageError: n += 100
        elif c.request == "close": Mailbox("else").close(); break
"""


def test_calls_are_answered_or_raise_the_reason(program):
    text = (
        CALLED
        + """
p = spawn(server)
print(call("counter", "add"), call("counter", "add"), call("counter", "twice") == cmpi.pid())
print(call("counter", "add"))
def caller(parent):
    try: call("counter", "keep", timeout=20)
    except cmpi.PeerClosed as error: print(error, flush=True)
c = spawn(caller)
try: call("counter", "raise")
except ValueError as error: print(error)
while True:  # until the other's call is kept
    call("counter", "drop")
    try: wait(c, timeout=0.1); break
    except TimeoutError: pass
try: call("counter", "keep", timeout=0.1)
except TimeoutError as error: print(error)
call("counter", "answer")  # the late one goes nowhere
async def add(): return await cmpi.acall("counter", "add", timeout=30)
async def many(): return sorted(await asyncio.gather(*(add() for _ in range(5))))
print(asyncio.run(many()))
try: call("counter", "die", timeout=20)
except cmpi.PeerExited as error: print("ended", error.status.code)
try: call("counter", "add", timeout=0.1)
except TimeoutError as error: print(error)
"""
    )
    out = program(text)
    lines = out.splitlines()
    assert lines[0] == "1 2 True" and lines[1] == "103"
    assert lines[2:4].count("no") == 1 and "has dropped the call without answering it" in out
    assert lines[4:] == [
        "no answer from counter within 0.1 s",
        "[104, 105, 106, 107, 108]",
        "ended 0",
        "no answer from counter within 0.1 s",
    ]


def test_select_and_event_loops_take_mailboxes_as_receivers(program):
    text = """
def client(parent, to):
    Sender.to(to).send(to)
box, other = Mailbox("a"), Mailbox("b")
spawn(client, "b")
done = cmpi.select(box, other, timeout=20)
print(done.operation is other, done.value)
print(cmpi.select(box, default=0).value)
async def main():
    spawned = await cmpi.aspawn(client, "a")
    waiting = asyncio.ensure_future(box.arecv())
    try: await asyncio.wait_for(asyncio.shield(other.arecv()), 0.05)
    except asyncio.TimeoutError: pass
    print(await waiting)
    await cmpi.aspawn(lambda parent: Sender.to("a").send("again"))
    async for message in box: return message
print(asyncio.run(main()))
async def sends():
    out = Sender[str].to("c"); await out.asend("x"); await out.asend("y")
p = spawn(lambda parent: asyncio.run(sends()))
print(*(Mailbox("c").recv(timeout=20) for _ in range(1)))
wait(p)
"""
    assert program(text).splitlines() == ["True b", "0", "a", "again", "x"]
