"""Measures how soon other processes learn that a process was killed, and how long a send to it can
block."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import cmpi
from cmpi.bench.common import ENVIRONMENT, Row

DEATHS = 40


def run(name: str, runs: int) -> Iterator[Row]:
    """The rows."""
    command = ["cmpirun", "--output", "plain", sys.executable, "-m", "cmpi.bench.notice"]
    # cmpirun's exit code is that of the killed process
    job = subprocess.run([*command, str(runs or DEATHS)], env=ENVIRONMENT, capture_output=True, text=True)
    noticed, sent = json.loads(job.stdout)
    noticed.sort()
    yield Row("death seen by a blocked recv, p50", statistics.median(noticed) * 1000, "ms")
    yield Row("  p99", noticed[len(noticed) * 99 // 100] * 1000, "ms")
    yield Row("a send to the dead, longest", max(sent) * 1000, "ms")


def victim(parent: cmpi.Pid) -> None:
    cmpi.Sender[int](parent).send(os.getpid())
    time.sleep(60)


def main(n: int) -> None:
    """The job: n times kill and receive, then n times kill and send."""
    noticed: list[float] = []
    sent: list[float] = []
    for i in range(2 * n):
        process = cmpi.spawn(victim)
        receiver = cmpi.Receiver[int](process)
        out = cmpi.Sender[int](process, capacity=2)
        os_pid = receiver.recv()
        out.send(0)
        before = time.perf_counter()
        os.kill(os_pid, 9)
        try:
            while i >= n:
                before = time.perf_counter()
                out.send(1)  # the second of these finds no room: it blocks until the end is known
            receiver.recv()
        except cmpi.PeerExited:
            (noticed if i < n else sent).append(time.perf_counter() - before)
    print(json.dumps([noticed, sent]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
