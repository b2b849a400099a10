"""The job behind the benchmark `spawn`: prints one object of figures, with times in seconds.

For comparison with each spawn, a `multiprocessing` process is started by fork, and another by its fork
server.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

import cmpi
from cmpi import Pid, Receiver, Resources, Sender

SMALL = Resources()


def stamp(parent: Pid) -> None:
    """Send the time."""
    Sender[float](parent).send(time.monotonic())


def stamp_by_pipe(pipe: Any) -> None:
    """Send the time through a pipe, for multiprocessing."""
    pipe.send(time.monotonic())


def stay(parent: Pid) -> None:
    """Send the time and the process's pid, and wait for the end."""
    Sender[Any](parent).send((time.monotonic(), os.getpid()))
    Receiver[int](parent).recv()


def use_mpi(parent: Pid) -> None:
    """Send the time once MPI is running."""
    from mpi4py import MPI

    assert MPI.COMM_WORLD.size == 1
    stamp(parent)


def one(f: Callable[..., Any], **how: Any) -> float:
    """Time from the call of spawn to the first message."""
    started = time.monotonic()
    child = cmpi.spawn(f, resources=SMALL, **how)
    took = Receiver[float](child).recv() - started
    cmpi.wait(child)
    return took


def one_by(kind: str) -> float:
    """Time from the start of a multiprocessing process to its first message."""
    context: Any = multiprocessing.get_context(kind)
    ours, theirs = context.Pipe()
    started = time.monotonic()
    process = context.Process(target=stamp_by_pipe, args=(theirs,))
    process.start()
    took = float(ours.recv()) - started
    process.join()
    return took


def many(n: int) -> tuple[float, list[tuple[Pid, int]]]:
    """Spawn n processes that stay; return the time until the last one runs, and their pids."""
    started = time.monotonic()
    pids = [cmpi.spawn(stay, resources=SMALL) for _ in range(n)]
    told = [Receiver[Any](pid).recv() for pid in pids]
    return max(at for at, _ in told) - started, [(pid, number) for pid, (_, number) in zip(pids, told)]


def dismiss(pids: list[tuple[Pid, int]]) -> None:
    """End the processes, and wait for their ends."""
    for pid, _ in pids:
        Sender[int](pid).send(0)
    for pid, _ in pids:
        cmpi.wait(pid)


def fibonacci(x: int) -> int:
    """Fibonacci numbers, with two processes for each call except the smallest."""
    if x <= 1:
        return x

    def child(parent: Pid, n: int) -> None:
        Sender[int](parent).send(fibonacci(n))

    left, right = cmpi.spawn(child, x - 1, resources=SMALL), cmpi.spawn(child, x - 2, resources=SMALL)
    return Receiver[int](left).recv() + Receiver[int](right).recv()


def worker(parent: Pid) -> None:
    """A worker: sends the time when it starts and when it is about to end, and ends."""
    with Sender[Any].to("times") as times:
        times.send(("runs", time.monotonic()))
        times.send(("ends", time.monotonic()))
    os._exit(3)


def boss(parent: Pid) -> None:
    """A supervisor that restarts the worker without pauses."""
    cmpi.supervise([cmpi.Child(worker)], max_restarts=10**6, within=1e-6)


def restart(n: int) -> float:
    """The median time from the end of a supervised process to the first statement of its successor, over n
    restarts."""
    with cmpi.Mailbox[Any](name="times") as times:
        supervisor = cmpi.spawn(boss, resources=SMALL)
        ended, took = 0.0, list[float]()
        while len(took) < n:
            what, at = times.recv()
            if what == "ends":
                ended = at
            elif ended:
                took.append(at - ended)
        cmpi.kill(supervisor)
        cmpi.wait(supervisor)
    return statistics.median(took)


def main() -> None:
    """Measure everything, and print it."""
    runs, at_once = int(sys.argv[1]), int(sys.argv[2])
    cmpi.init()
    figures: dict[str, Any] = {"first": one(stamp)}
    one_by("fork"), one_by("forkserver")
    rounds = [(one(stamp), one_by("fork"), one_by("forkserver")) for _ in range(runs)]
    for name, times in zip(("spawn", "fork", "forkserver"), zip(*rounds)):
        figures[name] = statistics.median(times)
    figures["mpi"] = statistics.median(one(use_mpi) for _ in range(max(3, runs // 4)))
    started = time.monotonic()
    for _ in range(100):
        one(stamp)
    figures["sustained"] = 100 / (time.monotonic() - started)
    figures["at_once"], pids = many(at_once)
    dismiss(pids)
    figures["again"], pids = many(at_once)
    dismiss(pids)
    figures["restart"] = restart(max(5, runs // 2))
    started = time.monotonic()
    assert fibonacci(10) == 55
    figures["fibonacci"] = time.monotonic() - started
    _, idle = many(20)
    time.sleep(0.5)
    processes = [psutil.Process(number) for _, number in idle]
    figures["idle"], figures["monitor"] = pss(processes), pss([p.parent() for p in processes])
    dismiss(idle)
    print(json.dumps(figures))


def pss(processes: list[Any]) -> float:
    """The memory of one of the processes in bytes, with shared pages divided among those that share them
    (PSS)."""
    return float(sum(process.memory_full_info().pss for process in processes) / len(processes))


if __name__ == "__main__":
    main()
