"""Long tests that count: `soak` (messages through pipelines), `chaos` (work among kills and signals) and
`interrupts` (exceptions from signal handlers inside calls)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from cmpi.bench.common import ENVIRONMENT, header
from cmpi.bench.leftover_files import files, leftovers

STACKS_S = 3.0  # for a job that hangs to show the stacks of its processes


def soak(seconds: float, seed: int) -> int:
    """Soak for this long; returns 0 if no message was lost, duplicated or reordered, and nothing grew."""
    print(f"{header()}, soaking for {seconds:.0f} s, seed {seed}", flush=True)
    return _run("soaking", [str(seconds), str(seed)], seconds + 60)


WORKLOADS = {"messages": "chaotic", "pool": "chaotic_pool"}  # and their programs


def chaos(workload: str, kills: int, seed: int, *options: str) -> int:
    """Kill this many processes; returns 0 if all work was done, nothing hung and nothing is left over.

    Args:
        workload: One of `WORKLOADS`.
        kills: The number of kills.
        seed: The seed of all random choices.
        options: Options of cmpirun.
    """
    print(f"{header()}, {kills} kills among {workload}, seed {seed}", *options, flush=True)
    return _run(WORKLOADS[workload], [str(kills), str(seed)], 60 + kills * 0.5, *options)


def interrupts(kinds: Sequence[str], count: int) -> int:
    """Interrupt this many calls of each kind; returns 0 if everything was accounted for.

    Args:
        kinds: Keys of `cmpi.bench.jobs.interrupted.KINDS`; empty: all of them.
        count: The number of interrupts of each kind.
    """
    from cmpi.bench.jobs.interrupted import KINDS

    for kind in kinds:
        if kind not in KINDS:
            print(f"no kind of interrupts {kind!r}; there are {', '.join(KINDS)}")
            return 2
    print(f"{header()}, {count} interrupts of each kind", flush=True)
    return max([_run("interrupted", [kind, str(count)], 120 + count * 0.05) for kind in kinds or KINDS])


def _run(module: str, arguments: list[str], limit_s: float, *options: str) -> int:
    before = files()
    program = [sys.executable, "-m", f"cmpi.bench.jobs.{module}", *arguments]
    command = ["cmpirun", "--output", "plain", *options, *program]
    job = subprocess.Popen(command, env=dict(ENVIRONMENT, PYTHONWARNINGS="ignore"))
    try:
        code = job.wait(limit_s)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGQUIT)  # it shows what its processes do
        time.sleep(STACKS_S)
        job.terminate()
        job.wait()
        print(f"HUNG: still running {limit_s:.0f} s after it began")
        return 1
    left = leftovers(before)
    if left:
        print(f"left over: {left}")
    return 1 if code or left else 0
