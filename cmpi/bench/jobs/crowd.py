"""The jobs behind `crowds`.

cmpirun python -m cmpi.bench.jobs.crowd blocked|alltoall N
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import psutil

import cmpi

WATCH_S = 5.0


def block(parent: cmpi.Pid) -> None:
    """Wait for a message, on a ring that is in use and on which this process has waited before."""
    to: cmpi.Sender[Any] = cmpi.Sender(parent)
    of: cmpi.Receiver[Any] = cmpi.Receiver(parent)
    for _ in range(20):
        to.send(of.recv())
    to.send(os.getpid())
    of.recv()


def blocked(n: int) -> dict[str, float]:
    """How much CPU n blocked processes and their monitors use together, in per cent of one core."""
    pids = [cmpi.spawn(block) for _ in range(n)]
    ends: list[tuple[Any, Any]] = [(cmpi.Sender(p), cmpi.Receiver(p)) for p in pids]
    for to, of in ends:
        for i in range(20):
            to.send(i)
            of.recv()
    processes = [psutil.Process(of.recv()) for _, of in ends]
    monitors = [process.parent() for process in processes]
    time.sleep(1)
    before = _cpu_s(processes), _cpu_s(monitors)
    time.sleep(WATCH_S)
    after = _cpu_s(processes), _cpu_s(monitors)
    for to, _ in ends:
        to.send(0)
    used = [100 * (b - a) / WATCH_S for a, b in zip(before, after)]
    return {"percent": used[0], "monitors": used[1]}


def _cpu_s(processes: list[Any]) -> float:
    """CPU seconds, from the scheduler's nanoseconds: `cpu_times` counts in hundredths of a second."""
    total = 0
    for process in processes:
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def talk(parent: cmpi.Pid) -> None:
    """Send to all the others, and receive from all."""
    pids: list[cmpi.Pid] = cmpi.Receiver(parent).recv()
    others = [pid for pid in pids if pid != cmpi.pid()]
    receivers = [cmpi.Receiver[str](pid) for pid in others]
    for pid in others:
        cmpi.Sender[str](pid).send("hello")
    for receiver in receivers:
        receiver.recv()
    cmpi.Sender[float](parent).send(time.monotonic())


def alltoall(n: int) -> dict[str, float]:
    """Seconds until all have heard from all, including the time for setting up connections."""
    pids = [cmpi.spawn(talk) for _ in range(n)]
    senders: list[cmpi.Sender[Any]] = [cmpi.Sender(pid) for pid in pids]
    receivers = [cmpi.Receiver[float](pid) for pid in pids]
    started = time.monotonic()
    for sender in senders:
        sender.send(pids)
    return {"seconds": max(receiver.recv() for receiver in receivers) - started}


if __name__ == "__main__":
    print(json.dumps({"blocked": blocked, "alltoall": alltoall}[sys.argv[1]](int(sys.argv[2]))))
