"""The job behind `soak`: episode after episode, several at a time, from one long-lived process.

    cmpirun python -m cmpi.bench.jobs.soaking SECONDS SEED

An episode is a pipeline of three processes: source, relay and sink. Each message carries its number and the
checksum of its payload, and the sink reports how many it received. Whatever happens, no gap, repetition or
wrong payload may occur; if nothing was killed or closed early, everything must arrive.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
import zlib
from collections import Counter
from typing import Any

import numpy as np
import psutil

import cmpi

AT_ONCE = 2  # episodes at the same time
EVENTS = ("nothing", "nothing", "kill the relay", "kill the sink", "close early", "cancel")
SIZES = (0, 1, 100, 5_000, 70_000, 300_000, 3_000_000)
# Both MPIs keep 70 to 90 KiB for each process that they were ever connected to, however the connection
# ended.
KEPT_BY_MPI = 100 << 10
SLACK_BYTES, SLACK_FDS = 20 << 20, 20
SMALL = cmpi.Resources(memory="400 MiB")
PEER_GONE = (cmpi.PeerExited, cmpi.PeerClosed)


def payload(choice: random.Random) -> Any:
    """A payload: bytes, text or an array of random size."""
    size = choice.choice(SIZES)
    kind = choice.randrange(3)
    if kind == 0:
        return np.full(size, choice.randrange(256), np.uint8)
    return bytes([choice.randrange(256)]) * size if kind == 1 else "ü" * (size // 2)


def checksum(value: Any) -> int:
    """The checksum of a payload's bytes."""
    return zlib.crc32(value.encode() if isinstance(value, str) else value)


async def send_with_cancels(to: cmpi.Sender[Any], messages: list[Any], choice: random.Random) -> None:
    """Send every message once, although some sends are cancelled: those that were not sent are sent
    again."""
    for message in messages:
        sent = False
        while not sent:
            task = asyncio.ensure_future(to.asend(message))
            if choice.random() < 0.3:
                await asyncio.sleep(0)
                task.cancel()
            try:
                await task
                sent = True
            except asyncio.CancelledError as error:
                found: BaseException | None = error
                while found is not None and not hasattr(found, "sent"):
                    found = found.__context__
                sent = getattr(found, "sent", False)  # without the attribute, the send was not even begun


def source(parent: cmpi.Pid, n: int, seed: int, event: str) -> None:
    choice = random.Random(seed)
    relay: cmpi.Pid = cmpi.Receiver(parent).recv()
    messages = []
    for i in range(n):
        value = payload(choice)
        messages.append((i, checksum(value), value))
    with cmpi.Sender[Any](relay, capacity=choice.choice((None, 4, "1 MiB"))) as to:
        try:
            if event == "cancel":
                asyncio.run(send_with_cancels(to, messages, choice))
            else:
                for message in messages:
                    to.send(message)
        except PEER_GONE:
            assert event not in ("nothing", "cancel"), event


def relay(parent: cmpi.Pid, origin: cmpi.Pid, event: str) -> None:
    target: cmpi.Pid = cmpi.Receiver(parent).recv()
    with cmpi.Receiver[Any](origin) as of, cmpi.Sender[Any](target) as to:
        try:
            for message in of:
                to.send(message)
        except PEER_GONE:
            assert event not in ("nothing", "cancel"), event


def sink(parent: cmpi.Pid, relay: cmpi.Pid, n: int, event: str) -> None:
    seen = 0
    try:
        with cmpi.Receiver[Any](relay) as of:
            for i, total, value in of:
                assert i == seen, f"message {i} where {seen} was expected"
                assert checksum(value) == total, f"message {i} is damaged"
                seen += 1
                if event == "close early" and seen == n // 2:
                    break
    except cmpi.PeerExited:
        assert event == "kill the relay", event
    cmpi.Sender[int](parent).send(seen)


def episode(choice: random.Random, counts: Counter[str]) -> None:
    """Run one pipeline from start to end."""
    n, event = choice.randrange(5, 120), choice.choice(EVENTS)
    one = cmpi.spawn(source, n, choice.randrange(1 << 30), event, resources=SMALL)
    two = cmpi.spawn(relay, one, event, resources=SMALL)
    three = cmpi.spawn(sink, two, n, event, resources=SMALL)
    seen = cmpi.Receiver[int](three)
    with cmpi.Sender[Any](one) as to_source, cmpi.Sender[Any](two) as to_relay:
        to_source.send(two)
        to_relay.send(three)
    if event.startswith("kill"):
        time.sleep(choice.random() * 0.05)
        cmpi.kill(two if event == "kill the relay" else three)
        counts["kills"] += 1
    statuses = [cmpi.wait(pid, timeout=60) for pid in (one, two, three)]
    killed = {"kill the relay": two, "kill the sink": three}.get(event)
    for pid, status in zip((one, two, three), statuses):
        if not status.ok and pid != killed:
            raise AssertionError(f"{event}: {pid} ended with {status}")
    try:
        arrived = seen.recv(timeout=30)
    except cmpi.PeerExited:
        if event != "kill the sink":
            raise
        arrived = 0
    seen.close()
    if event in ("nothing", "cancel"):
        assert arrived == n, f"{n - arrived} of {n} messages were lost"
    counts["episodes"] += 1
    counts["messages"] += arrived


class Stage:
    """The resources that this process holds, which must not grow."""

    def __init__(self) -> None:
        gc.collect()
        process = psutil.Process()
        self.rss = process.memory_info().rss
        self.fds = process.num_fds()
        maps = process.memory_maps(grouped=False)
        self.shared = sum(piece.size for piece in maps if piece.path.startswith("/dev/shm/cmpi-"))

    def __str__(self) -> str:
        return f"{self.rss / 2**20:.0f} MiB, {self.fds} fds, {self.shared / 2**20:.1f} MiB shared"


def main(seconds: float, seed: int) -> int:
    """Run for this long; returns the exit code."""
    end_s = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    wrong: list[BaseException] = []

    def keep_on(seed: int) -> None:
        choice = random.Random(seed)
        try:
            while time.monotonic() < end_s and not wrong:
                episode(choice, counts)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=keep_on, args=(seed * 1000 + i,)) for i in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    settled: Stage | None = None
    episodes_then = 0
    told_s = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.1)
        if settled is None and time.monotonic() > end_s - seconds * 2 / 3:
            settled, episodes_then = Stage(), counts["episodes"]
        if time.monotonic() - told_s > 30:
            told_s = time.monotonic()
            print(f"{dict(counts)}; {Stage()}", flush=True)
    last = Stage()
    print(f"{dict(counts)}; first {settled}, last {last}", flush=True)
    if wrong:
        raise wrong[0]
    assert settled is not None
    linked = 3 * (counts["episodes"] - episodes_then)
    if last.rss > settled.rss + linked * KEPT_BY_MPI + SLACK_BYTES or last.fds > settled.fds + SLACK_FDS:
        print("it grows")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
