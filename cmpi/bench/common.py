"""Code shared by the benchmarks: rows of a table, commands, interleaved timing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cmpi._runtime.linux.host_facts import compiled
from cmpi.launcher.mpi import find_mpi, mpiexec

PATH = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}"
ENVIRONMENT = dict(os.environ, PATH=PATH)


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: What was measured.
        ours: The figure for cmpi, in `unit`.
        against: What cmpi is compared with; "" if nothing.
        theirs: The figure for that, in the same unit.
        limit: In words, what the ratio must be (or `ours`, if there is no ratio).
    """

    what: str
    ours: float
    unit: str
    against: str = ""
    theirs: float = 0.0
    limit: str = ""

    @property
    def ratio(self) -> float | None:
        """The ratio of `ours` to `theirs`."""
        return self.ours / self.theirs if self.theirs else None

    def line(self) -> str:
        """The row as a line of a table."""
        theirs = f"{self.theirs:10.2f}" if self.against else " " * 10
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (
            f"{self.what:34} {self.ours:10.2f} {theirs} {self.unit:6} {ratio:>7}  "
            f"{self.limit:14} {self.against}"
        ).rstrip()


HEADINGS = f"{'':34} {'cmpi':>10} {'other':>10} {'':6} {'ratio':>7}  {'must be':14} other"


def plain_mpiexec(program: list[str], ranks: int = 1) -> list[str]:
    """The command `mpiexec -n RANKS` with the flags that cmpirun uses, without cmpi."""
    mpi = find_mpi.find()
    argv = mpiexec.command(mpi, program, [], {}, superuser=os.geteuid() == 0)
    if mpi.kind == "openmpi":
        argv[1:1] = ["--mca", "btl", "^ofi"]
    argv[argv.index("-n") + 1] = str(ranks)
    return argv


def seconds(command: list[str]) -> float:
    """How long a command takes.

    Raises:
        CalledProcessError: It failed.
    """
    started = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def in_a_job(program: str, *arguments: object, options: Sequence[str] = ()) -> Any:
    """Run a program under cmpirun with these options; return what it prints, parsed as JSON.

    Raises:
        CalledProcessError: The program failed.
        RuntimeError: It printed something else last.
    """
    command = [
        "cmpirun",
        "--output",
        "plain",
        *options,
        sys.executable,
        "-m",
        program,
        *map(str, arguments),
    ]
    environment = dict(ENVIRONMENT, PYTHONWARNINGS="ignore")
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    try:
        return json.loads(out.rstrip().splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"{program} printed {out[-500:]!r}") from None


def interleaved(runs: int, **measure: Callable[[], float]) -> dict[str, float]:
    """The median of each measure over `runs` rounds; each round runs every measure once."""
    times: dict[str, list[float]] = {name: [] for name in measure}
    for _ in range(runs):
        for name, take in measure.items():
            times[name].append(take())
    return {name: statistics.median(values) for name, values in times.items()}


def header() -> str:
    """A description of the machine that is measured."""
    mpi = find_mpi.find()
    kind, version = find_mpi.check_version(mpi.mpiexec)
    how = "compiled" if compiled() else "not compiled"
    python = f"Python {sys.version.split()[0]}"
    return f"cmpi {how}, {find_mpi.NAMES[kind]} {version}, {python}, {os.cpu_count()} cores"
