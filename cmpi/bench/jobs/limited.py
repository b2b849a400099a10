"""The job behind `limits`: many processes alive at once, then many short ones one after another."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
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


def parts() -> dict[str, list[Any]]:
    """The processes of this job that live as long as it, by what they are."""
    top = launcher()
    found: dict[str, list[Any]] = {}
    for process in [top, *top.children(recursive=True)]:
        line = " ".join(process.cmdline())
        name = next((name for word, name in PARTS.items() if word in line), "")
        # Monitors and closures are forks of the fork server, with its command line.
        parent = process.parent()
        forked = (
            name == "fork server" and parent is not None and "root/main" not in " ".join(parent.cmdline())
        )
        if name and not forked:
            found.setdefault(name, []).append(process)
    return found


def descriptors(of: dict[str, list[Any]]) -> dict[str, int]:
    """How many descriptors the busiest of each kind has open."""
    return {name: max(process.num_fds() for process in processes) for name, processes in of.items()}


def megabytes(of: dict[str, list[Any]]) -> dict[str, float]:
    """The resident memory of each kind, in MB."""
    return {name: sum(p.memory_info().rss for p in processes) / 1e6 for name, processes in of.items()}


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
    opened = descriptors(parts())
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
    of = parts()
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
