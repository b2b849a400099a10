"""What the processes of a job that stays hold after many guests and deployments have come and gone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import psutil

from cmpi._core.job.past import MOST_RECORDS
from cmpi._runtime.linux import job_folders
from cmpi.bench.common import ENVIRONMENT, Row, seconds

COUNT = 1_000
WARM_UP = 10  # of each; the number of slots, for example, follows the first ones
# The root keeps so many records of processes that have ended, and no more: they are there from the start.
RECORDS = """
import sys, cmpi
with cmpi.Job.attach(sys.argv[1]):
    for _ in range(int(sys.argv[2]) // 8):
        for child in [cmpi.spawn(lambda parent: None) for _ in range(8)]:
            cmpi.wait(child)
"""
GUEST = """
import sys, cmpi
with cmpi.Job.attach(sys.argv[1]):
    assert cmpi.result(cmpi.spawn(lambda parent: 42, result=True)) == 42
"""


def run(_: str, count: int) -> Iterator[Row]:
    """Rows of the table; `count` guests, and as many deployments, 0: `COUNT`."""
    count, name = count or COUNT, f"bench-{os.getpid()}"
    serve = ["cmpirun", "--serve", "--name", name]
    with subprocess.Popen(serve, env=ENVIRONMENT, stdout=subprocess.PIPE) as job:
        try:
            assert job.stdout is not None
            job.stdout.readline()  # wait until it is up
            (folder,) = job_folders.find(name)
            parts = _parts(job.pid)
            seconds(["python", "-c", RECORDS, name, str(MOST_RECORDS)])
            _come_and_go(name, WARM_UP)
            files, before = _files(folder), {title: _held(it) for title, it in parts.items()}
            began_s = time.perf_counter()
            _come_and_go(name, count)
            took_s = time.perf_counter() - began_s
            after, more_files = {title: _held(it) for title, it in parts.items()}, _files(folder) - files
        finally:
            job.terminate()
    yield Row(f"{count} guests and as many deployments", 2 * count / took_s, "1/s")
    yield Row("  more files in the job's folders", more_files, "")
    for title, (memory, descriptors) in after.items():
        grown = (memory - before[title][0]) / count / 1e3
        yield Row(f"  growth of the {title}, for a guest and a deployment", grown, "KB")
        yield Row("    more descriptors, in all", descriptors - before[title][1], "")


def _come_and_go(name: str, count: int) -> None:
    for _ in range(count):
        seconds(["python", "-c", GUEST, name])
        seconds(["cmpirun", "--in", name, "-n", "2", "true"])


def _parts(cmpirun: int) -> dict[str, psutil.Process]:
    """The job's own processes that stay."""
    parts = {"cmpirun": psutil.Process(cmpirun)}
    for process in parts["cmpirun"].children(recursive=True):
        words = " ".join(process.cmdline())
        if "root/main.py" in words:
            parts["helper" if "root" in parts else "root"] = process
    return parts


def _held(process: psutil.Process) -> tuple[int, int]:
    """The memory that a process alone holds, in bytes, and its descriptors."""
    return process.memory_full_info().uss, process.num_fds()


def _files(folder: str) -> int:
    both = (folder, f"/dev/shm/{os.path.basename(folder)}")
    return sum(len(names) for at in both for _, _, names in os.walk(at))
