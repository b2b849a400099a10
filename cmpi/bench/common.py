"""What the benchmarks share: commands, interleaved timing, a table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from launcher import find_mpi, mpiexec

PATH = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}"
ENVIRONMENT = dict(os.environ, PATH=PATH)


def plain_mpiexec(program: list[str]) -> list[str]:
    """`mpiexec -n 1` with the flags that cmpirun gives, without cmpi."""
    mpi = find_mpi.find()
    argv = mpiexec.command(mpi, program, [], {}, superuser=os.geteuid() == 0)
    if mpi.kind == "openmpi":
        argv[1:1] = ["--mca", "btl", "^ofi"]
    argv[argv.index("-n") + 1] = "1"
    return argv


def seconds(command: list[str]) -> float:
    """How long a command takes.

    Raises:
        CalledProcessError: It failed.
    """
    started = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def interleaved(runs: int, **measure: Callable[[], float]) -> dict[str, float]:
    """The median of each measure over `runs` rounds; every round has one of each."""
    times: dict[str, list[float]] = {name: [] for name in measure}
    for _ in range(runs):
        for name, take in measure.items():
            times[name].append(take())
    return {name: statistics.median(values) for name, values in times.items()}


def header() -> Iterator[str]:
    """On what this was measured."""
    mpi = find_mpi.find()
    kind, version = find_mpi.check_version(mpi.mpiexec)
    yield f"{find_mpi.NAMES[kind]} {version}, Python {sys.version.split()[0]}, {os.cpu_count()} cores"
