"""One GiB of lines from four ranks through monitors, root and terminal, counted at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import psutil

from cmpi.bench.common import ENVIRONMENT, header

RUNS = 1
RANKS = 4
BYTES = 1 << 30

_WRITER = """
import os, sys
block = b"".join(b"%060d\\n" % i for i in range(4096))
for _ in range(int(sys.argv[1]) // len(block)): os.write(1, block)
"""


def run(runs: int) -> Iterator[str]:
    """Lines of the table."""
    yield from header()
    for form in ("plain", "human"):
        for _ in range(runs):
            seconds, nbytes, peak, whole = _one(form)
            rate = nbytes / seconds / 1e6
            yield f"{form:6} {nbytes / 2**20:6.0f} MiB in {seconds:5.2f} s: {rate:6.0f} MB/s (at least 150)"
            yield f"       every byte arrived: {whole}; the root used at most {peak / 2**20:.0f} MiB"


def _one(form: str) -> tuple[float, int, int, str]:
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
        whole = "yes" if form == "human" or nbytes == expected else f"NO, {expected} expected"
        return seconds, nbytes, peak[0], whole


def _watch(pid: int, peak: list[int]) -> None:
    while psutil.pid_exists(pid):
        try:
            for process in psutil.Process(pid).children(recursive=True):
                if "root_main.py" in " ".join(process.cmdline()):
                    peak[0] = max(peak[0], process.memory_info().rss)
        except psutil.Error:
            pass  # it has just ended
        time.sleep(0.1)
