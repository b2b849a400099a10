"""One GiB of lines from four ranks through monitors, root and terminal, counted at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import psutil

from cmpi._runtime.programs import ROOT_MAIN
from cmpi.bench.common import ENVIRONMENT, Row

RUNS = 1
RANKS = 4
BYTES = 1 << 30

_WRITER = """
import os, sys
block = b"".join(b"%060d\\n" % i for i in range(4096))
for _ in range(int(sys.argv[1]) // len(block)): os.write(1, block)
"""


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table.

    Raises:
        RuntimeError: Bytes were lost.
    """
    for form in ("plain", "human"):
        for _ in range(min(runs, 1) or RUNS):
            seconds, nbytes, peak, expected = _one(form)
            if form == "plain" and nbytes != expected:
                raise RuntimeError(f"{expected - nbytes} of {expected} bytes were lost")
            yield Row(f"1 GiB of output, {form}", nbytes / seconds / 1e6, "MB/s", limit="at least 150")
            yield Row("  most that the root used", peak / 2**20, "MiB")


def _one(form: str) -> tuple[float, int, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        script = f"{folder}/writer.py"
        with open(script, "w") as file:
            file.write(_WRITER)
        command = [
            "cmpirun",
            "-n",
            str(RANKS),
            "--output",
            form,
            sys.executable,
            script,
            str(BYTES // RANKS),
        ]
        started = time.perf_counter()
        job = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(job.pid, peak), daemon=True)
        watcher.start()
        assert job.stdout is not None
        nbytes = 0
        while piece := os.read(job.stdout.fileno(), 1 << 20):
            nbytes += len(piece)
        seconds = time.perf_counter() - started
        job.wait()
        block = 61 * 4096
        expected = BYTES // RANKS // block * block * RANKS
        return seconds, nbytes, peak[0], expected


def _watch(pid: int, peak: list[int]) -> None:
    while psutil.pid_exists(pid):
        try:
            for process in psutil.Process(pid).children(recursive=True):
                if ROOT_MAIN in " ".join(process.cmdline()):
                    peak[0] = max(peak[0], process.memory_info().rss)
        except psutil.Error:
            pass  # it has just ended
        time.sleep(0.1)
