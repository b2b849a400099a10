"""The job behind `limits`: many processes alive at once, then many short ones one after another."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

import psutil

import cmpi
from cmpi import Pid, Receiver, Resources, Sender
from cmpi.bench.jobs.chaotic_parts import launcher

SMALL = Resources()
AT_ONCE = 16  # short ones
ROUNDS = 10  # in which the short ones come; the first is the warm-up to which the last is compared
PARTS = {  # words of its command line, and what the part is called
    "bin/cmpirun": "cmpirun",
    "bin/mpiexec": "mpiexec",
    "bin/prterun": "mpiexec",
    "hydra_pmi_proxy": "MPI's proxy",
    "root/main": "root",
    "fork_server:main": "fork server",
}


def title(process: psutil.Process) -> str:
    """What part of a job this process is; "": none. Raises `psutil.NoSuchProcess` if it has ended."""
    line = " ".join(process.cmdline())
    return next((name for word, name in PARTS.items() if word in line), "")


def parts(top: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The processes that live as long as the job of this cmpirun, by what they are."""
    found: dict[str, list[psutil.Process]] = {}
    for process in [top, *top.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # one that has ended meanwhile is no part that lives that long
            name, parent = title(process), process.parent()
            # A fork has its parent's command line: so have monitors and closures the fork server's, and
            # what MPI's launcher starts has its own for a moment.
            if name and (parent is None or title(parent) != name):
                found.setdefault(name, []).append(process)
    return found


def descriptors(of: dict[str, list[psutil.Process]]) -> dict[str, int]:
    """How many descriptors the busiest of each kind has open."""
    return {name: max(process.num_fds() for process in processes) for name, processes in of.items()}


def megabytes(of: dict[str, list[psutil.Process]]) -> dict[str, float]:
    """The resident memory of each kind, in MB."""
    return {name: sum(p.memory_info().rss for p in processes) / 1e6 for name, processes in of.items()}


def held(processes: list[psutil.Process]) -> tuple[int, int]:
    """The memory that these processes alone hold, in bytes, and their descriptors."""
    return sum(it.memory_full_info().uss for it in processes), sum(it.num_fds() for it in processes)


def more(before: tuple[int, int], after: tuple[int, int], count: int) -> tuple[float, float]:
    """By how much that has grown for each of `count`."""
    return (after[0] - before[0]) / count, (after[1] - before[1]) / count


def stay(parent: Pid) -> None:
    """Say hello, and wait for the end."""
    Sender[int](parent).send(os.getpid())
    Receiver[int](parent).recv()


def nothing(_: Pid) -> None:
    """End at once."""


def alive(n: int) -> dict[str, Any]:
    """Start this many processes, which are all alive at the same time and have all sent a message."""
    began_s = time.monotonic()
    pids = [cmpi.spawn(stay, resources=SMALL) for _ in range(n)]
    numbers = {Receiver[int](pid).recv() for pid in pids}
    took_s = time.monotonic() - began_s
    assert len(numbers) == n and all(map(psutil.pid_exists, numbers))
    opened = descriptors(parts(launcher()))
    for pid in pids:
        Sender[int](pid).send(0)
    for pid in pids:
        check_end(pid)
    return {"seconds": took_s, "descriptors": opened}


def check_end(pid: Pid) -> None:
    """Wait for a process, which must end well."""
    end = cmpi.wait(pid)
    assert end.ok, end


def short(n: int) -> dict[str, Any]:
    """Start this many processes that end at once; report the rates in the first and the last tenth, and the
    growth of memory and descriptors."""
    rates: list[float] = []
    of = parts(launcher())
    memory = opened = {}
    for i in range(ROUNDS):
        began_s, running = time.monotonic(), deque[Pid]()
        for _ in range(n // ROUNDS):
            running.append(cmpi.spawn(nothing, resources=SMALL))
            if len(running) > AT_ONCE:
                check_end(running.popleft())
        for pid in running:
            check_end(pid)
        rates.append(n // ROUNDS / (time.monotonic() - began_s))
        if i == 0:
            memory, opened = megabytes(of), descriptors(of)
    grown = {name: now - memory[name] for name, now in megabytes(of).items()}
    more = {name: now - opened[name] for name, now in descriptors(of).items()}
    return {"first": rates[0], "last": rates[-1], "grown": grown, "more descriptors": more}


def main() -> None:
    """Run both."""
    print(json.dumps({"alive": alive(int(sys.argv[1])), "short": short(int(sys.argv[2]))}))


if __name__ == "__main__":
    main()
