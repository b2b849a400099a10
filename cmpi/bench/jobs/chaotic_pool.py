"""The job behind `chaos --workload pool`: a pool's tasks while its workers and their monitors are killed.

    cmpirun python -m cmpi.bench.jobs.chaotic_pool KILLS SEED

Every future must settle correctly: with the task's own result; with WorkerDied after exactly one death more
than its retries allow; or with TaskKilled or TimeoutError, if it was killed or its time limit was too
short. Each task records that it runs, and none may run more often than its retries allow.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

import numpy as np

import cmpi
from cmpi.pool import PoolFuture

WORKERS, AHEAD = 4, 64  # unfinished tasks
KILL_EVERY_S = 0.03
STALL_S = 30.0  # without a finished task, the job counts as hanging
SHORT_S, LIMIT_S, FOREVER_S = 0.02, 0.05, 1000.0
SIGNALS = ("SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT")
SIZES = (1, 5000, 200_000)


class ChaoticTask:
    """Rank 0's record of a task."""

    def __init__(self, number: int, choice: random.Random) -> None:
        self.number, self.retries = number, choice.choice((0, 0, 1, 3))
        self.what = choice.choices(("short", "long", "late", "dies"), (60, 30, 5, 5))[0]
        self.size = choice.choice(SIZES)
        self.killed = False

    def submit(self, pool: cmpi.ProcessPool, path: str, table: Any) -> PoolFuture:
        """Submit the task to the pool."""
        limit_s = LIMIT_S if self.what == "late" else None
        options = pool.options(retries=self.retries, timeout=limit_s)
        return options.submit(work, path, self.number, self.what, self.size, table)

    def check(self, future: PoolFuture) -> str:
        """Check how the task has ended; return that in a word."""
        error = future.exception(0)
        if error is None:
            array = future.result()[0]
            assert array.size == self.size and (array == self.number).all(), f"{self.number}: wrong result"
            assert self.what not in ("late", "dies"), f"{self.number}: it cannot have a result"
            return "done"
        if isinstance(error, cmpi.WorkerDied):
            deaths = f"{error.deaths} deaths with {self.retries} retries"
            assert error.deaths == self.retries + 1, f"{self.number}: {deaths}"
            return "died"
        if isinstance(error, cmpi.TaskKilled):
            assert self.killed, f"{self.number}: nobody has killed it"
            return "killed"
        assert isinstance(error, TimeoutError) and self.what == "late", f"{self.number}: {error!r}"
        return "late"


def work(path: str, number: int, what: str, size: int, table: Any) -> Any:
    """A task: records that it runs; returns its result, and the processes that can be killed."""
    with open(path, "ab", buffering=0) as file:
        file.write(struct.pack("q", number))
    assert table[0] == 7.0
    if what == "dies":
        os.kill(os.getpid(), getattr(signal, SIGNALS[number % len(SIGNALS)]))
        time.sleep(FOREVER_S)
    time.sleep(FOREVER_S if what == "late" else SHORT_S if what == "long" else 0.0)
    return np.full(size, float(number)), os.getpid(), os.getppid()


class PoolChaos:
    """The work of rank 0.

    Args:
        kills: How many kills.
        seed: The seed of all choices.
        path: The file in which tasks record that they run.
    """

    def __init__(self, kills: int, seed: int, path: str) -> None:
        self._kills_left, self._choice, self._path = kills, random.Random(seed), path
        self._tasks: dict[PoolFuture, ChaoticTask] = {}
        self._retries: list[int] = []  # by task
        self._processes: deque[tuple[int, int]] = deque(maxlen=WORKERS)  # recent workers and their monitors
        self.counts: Counter[str] = Counter()
        self.deaths = 0
        self.longest_stall_s = 0.0

    def run(self) -> None:
        """Run until all kills are done and every future has settled."""
        # Silences the crash reports of killed processes.
        with cmpi.ProcessPool(WORKERS, initializer=faulthandler.disable) as pool:
            table = pool.share(np.full(1 << 18, 7.0))
            kill_s = moved_s = time.monotonic()
            while self._kills_left or self._tasks:
                faulthandler.dump_traceback_later(STALL_S, exit=True)
                while self._kills_left and len(self._tasks) < AHEAD:
                    task = ChaoticTask(len(self._retries), self._choice)
                    self._retries.append(task.retries)
                    self._tasks[task.submit(pool, self._path, table)] = task
                over, _ = wait(self._tasks, KILL_EVERY_S, FIRST_COMPLETED)
                now_s = time.monotonic()
                self.longest_stall_s = max(self.longest_stall_s, now_s - moved_s)
                moved_s = now_s if over else moved_s
                for future in over:
                    assert isinstance(future, PoolFuture)
                    self._over(self._tasks.pop(future), future)
                if moved_s + STALL_S < now_s:
                    raise AssertionError(f"{len(self._tasks)} futures do not settle: {pool}")
                if self._kills_left and now_s >= kill_s:
                    self._kill()
                    kill_s = now_s + self._choice.random() * 2 * KILL_EVERY_S
            self.deaths = pool.statistics().deaths
        faulthandler.cancel_dump_traceback_later()
        self._check_runs()

    def _over(self, task: ChaoticTask, future: PoolFuture) -> None:
        how = task.check(future)
        self.counts[how] += 1
        if how == "done":
            self._processes.append(future.result()[1:])

    def _kill(self) -> None:
        """Kill a worker, its monitor, or a task."""
        what = self._choice.choice(("worker", "worker", "monitor", "task"))
        if what == "task":
            future = self._choice.choice(list(self._tasks))
            self._tasks[future].killed = True
            future.kill()
        elif not self._processes:
            return
        else:
            process, monitor = self._choice.choice(self._processes)
            name = self._choice.choice(SIGNALS) if what == "worker" else "SIGKILL"
            with contextlib.suppress(ProcessLookupError):
                os.kill(process if what == "worker" else monitor, getattr(signal, name))
        self._kills_left -= 1
        self.counts[f"kills: {what}"] += 1

    def _check_runs(self) -> None:
        with open(self._path, "rb") as file:
            runs = Counter(number for (number,) in struct.iter_unpack("q", file.read()))
        for number, retries in enumerate(self._retries):
            assert runs[number] <= retries + 1, f"task {number} ran {runs[number]} times, retries={retries}"
        self.counts["runs"] = sum(runs.values())


def main(kills: int, seed: int) -> int:
    """Run the job; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        chaos = PoolChaos(kills, seed, f"{folder}/runs")
        started_s = time.monotonic()
        chaos.run()
    took_s = time.monotonic() - started_s
    print(f"{kills} kills survived in {took_s:.0f} s: {dict(sorted(chaos.counts.items()))}")
    print(f"{chaos.deaths} workers replaced; longest stall {chaos.longest_stall_s * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
