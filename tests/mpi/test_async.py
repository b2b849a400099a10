"""Channels and processes in an event loop, with real jobs."""

import pytest

PRELUDE = """
import asyncio, cmpi, os, sys, time
import numpy as np
from cmpi import Receiver, Sender, aspawn, await_exit, spawn
small = cmpi.Resources()
def echo(parent):
    s = Sender(parent)
    for value in Receiver(parent): s.send(value)
"""


@pytest.fixture
def program(program):
    """Runs a text as the coroutine `main`."""

    def run(text, **kwargs):
        body = "\n".join("    " + line for line in text.strip().splitlines())
        return program("async def main():\n" + body + "\nasyncio.run(main())\n", **kwargs)

    return run


def test_spawning_sending_receiving_and_waiting_work_in_an_event_loop(program):
    assert (
        program("""
p = await aspawn(echo, resources=small)
s, r = Sender(p), Receiver(p)
for value in (1, "two", np.arange(100_000)):
    await s.asend(value)
    got = await r.arecv()
    assert np.array_equal(got, value), got
s.close()
print(await await_exit(p), [value async for value in r])
big = np.ones(1_000_000)
p = await aspawn(lambda parent: Sender(parent).send(big.sum()))
print(await Receiver(p).arecv())
""")
        == "0 []\n1000000.0\n"
    )


def test_gather_awaits_a_hundred_channels(program):
    assert (
        program("""
p = await aspawn(lambda parent: [Sender(parent, name=str(i)).send(i) for i in range(100)])
got = await asyncio.gather(*(Receiver(p, name=str(i)).arecv() for i in range(100)))
print(got == list(range(100)))
""")
        == "True\n"
    )


def test_waiting_tasks_do_not_block_the_event_loop(program):
    assert (
        program(
            """
pids = [spawn_now for spawn_now in [cmpi.try_spawn(echo, resources=small) for _ in range(4)]]
ticks = 0
async def clock():
    global ticks
    while True:
        await asyncio.sleep(0.005); ticks += 1
async def talk(p):
    s, r = Sender(p), Receiver(p)
    total = 0
    for i in range(50):
        await s.asend(i); total += await r.arecv()
    s.close()
    return total
timer = asyncio.create_task(clock())
print(await asyncio.gather(*map(talk, pids)))
timer.cancel()
print([str(await await_exit(p)) for p in pids], ticks > 3)
""".replace("global ticks", "nonlocal ticks")
        )
        == "[1225, 1225, 1225, 1225]\n['0', '0', '0', '0'] True\n"
    )


def test_a_cancelled_receive_loses_nothing(program):
    assert (
        program("""
def late(parent):
    s = Sender(parent)
    for i in range(300): s.send(i); time.sleep(0.0005)
r = Receiver(await aspawn(late))
got, cancelled = [], 0
while len(got) < 300:
    try: got.append(await asyncio.wait_for(r.arecv(), 0.0004))
    except asyncio.TimeoutError: cancelled += 1
print(got == list(range(300)), cancelled > 5)
""")
        == "True True\n"
    )


def test_a_cancelled_send_tells_whether_the_message_was_sent(program):
    assert (
        program("""
def reader(parent):
    Receiver(parent, name="go").recv()
    Sender(parent).send([len(v) for v in Receiver(parent)])
p = await aspawn(reader)
s = Sender(p, capacity="4 MiB")
said = []
for i in range(8):
    task = asyncio.create_task(s.asend(bytes(1_000_000 + i)))
    await asyncio.sleep(0.05)
    if task.done(): said.append(True); continue
    task.cancel()
    try: await task
    except asyncio.CancelledError as error:
        while not hasattr(error, "sent"): error = error.__context__
        said.append(error.sent)
await Sender(p, name="go").asend(0); s.close()
got = await Receiver(p).arecv()
print(got == [1_000_000 + i for i in range(8) if said[i]], said.count(True) >= 1, said.count(False) >= 1)
""")
        == "True True True\n"
    )


def test_a_peers_death_raises_in_every_waiting_task(program):
    assert (
        program("""
p = await aspawn(lambda parent: time.sleep(60))
tasks = [asyncio.create_task(Receiver(p, name=str(i)).arecv()) for i in range(3)]
exit = asyncio.create_task(await_exit(p))
await asyncio.sleep(0.1)
cmpi.kill(p)
print([type(e).__name__ for e in await asyncio.gather(*tasks, return_exceptions=True)], (await exit).signal)
""")
        == "['PeerExited', 'PeerExited', 'PeerExited'] 9\n"
    )


def test_waiting_for_room_can_be_cancelled(program):
    assert (
        program(
            """
hold = await aspawn(echo, resources=cmpi.Resources(1, "1 MiB"))
task = asyncio.create_task(aspawn(echo, resources=cmpi.Resources(1, "1 MiB")))
await asyncio.sleep(0.1)
print(task.done()); task.cancel()
try: await task
except asyncio.CancelledError: pass
Sender(hold).close(); await await_exit(hold)
p = await asyncio.wait_for(aspawn(echo, resources=cmpi.Resources(1, "1 MiB")), 10)
Sender(p).close(); print(await await_exit(p))
""",
            options=("--cpus", "1.1"),
        )
        == "False\n0\n"
    )


def test_blocking_calls_in_a_loop_are_refused_and_name_their_async_twins(program):
    out = program("""
p = await aspawn(echo)
s, r = Sender(p), Receiver(p)
for call in (lambda: s.send(1), r.recv, lambda: spawn(echo), lambda: cmpi.wait(p)):
    try: call()
    except cmpi.UsageError as error: print(str(error).rpartition("use ")[2])
s.close()
""")
    assert out.split("\n")[:2] == ["`await sender.asend(value)`", "`await receiver.arecv()`"]
    assert "aspawn" in out and "await_exit" in out
