"""What the processes of a job that stays hold after many guests and deployments have come and gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator

import psutil

from cmpi._core.job.past import MOST_RECORDS
from cmpi._runtime.linux import job_folders
from cmpi.bench.common import ENVIRONMENT, Row, plain_mpiexec, seconds
from cmpi.bench.jobs.limited import held, more, parts

COUNT = 1_000
BARE = 100  # spawns by MPI alone, for comparison
WARM_UP = 20  # of each; the number of slots, for example, follows the first ones
# The root keeps so many records of processes that have ended, and no more: they are there from the start.
RECORDS = """
import sys, cmpi
with cmpi.Job.attach(sys.argv[1]):
    for _ in range(int(sys.argv[2]) // 8):
        for child in [cmpi.spawn(lambda parent: None) for _ in range(8)]:
            cmpi.wait(child)
"""
GUESTS = """
import sys, cmpi
for _ in range(int(sys.argv[2])):
    with cmpi.Job.attach(sys.argv[1]):
        assert cmpi.result(cmpi.spawn(lambda parent: 42, result=True)) == 42
"""
GUESTS_OF_ONE_PROCESS = 20  # one after another
SPAWNS_OF_MPI = [sys.executable, "-m", "cmpi.bench.jobs.spawns_of_mpi"]


def run(_: str, count: int) -> Iterator[Row]:
    """Rows of the table; `count` guests, and as many deployments, 0: `COUNT`."""
    count, name = count or COUNT, f"bench-{os.getpid()}"
    serve = ["cmpirun", "--serve", "--name", name]
    with subprocess.Popen(serve, env=ENVIRONMENT, stdout=subprocess.PIPE) as job:
        try:
            assert job.stdout is not None
            job.stdout.readline()  # wait until it is up
            (folder,) = job_folders.find(name)
            seconds(["python", "-c", RECORDS, name, str(MOST_RECORDS)])
            _guests(name, WARM_UP)
            _deployments(name, WARM_UP)
            of = parts(psutil.Process(job.pid))
            yield from _growth("guest", of, folder, lambda: _guests(name, count), count)
            grown = yield from _growth("deployment", of, folder, lambda: _deployments(name, count), count)
        finally:
            job.terminate()
    for title, (their_bytes, their_descriptors) in _bare_spawns(min(count, BARE)).items():
        nbytes, descriptors = grown[title]
        yield Row(f"{title}, by a deployment", nbytes / 1e3, "KB", "by MPI_Comm_spawn", their_bytes / 1e3)
        yield Row("  more descriptors", descriptors, "", "the same", their_descriptors)


def _guests(name: str, count: int) -> float:
    """Let guests come and go; returns for how many seconds."""
    each = min(count, GUESTS_OF_ONE_PROCESS)
    return sum(seconds(["python", "-c", GUESTS, name, str(each)]) for _ in range(0, count, each))


def _deployments(name: str, count: int) -> float:
    """Let deployments of two ranks come and go; returns for how many seconds."""
    return sum(seconds(["cmpirun", "--in", name, "-n", "2", "true"]) for _ in range(count))


def _growth(
    kind: str,
    of: dict[str, list[psutil.Process]],
    folder: str,
    come_and_go: Callable[[], float],
    count: int,
) -> Generator[Row, None, dict[str, tuple[float, float]]]:
    """Rows about what `count` guests or deployments leave behind; returns what each adds, bytes and
    descriptors, by part."""
    files, before = _files(folder), {title: held(them) for title, them in of.items()}
    yield Row(f"{count} times a {kind}", count / come_and_go(), "1/s")
    yield Row("  more files in the job's folders", _files(folder) - files, "")
    grown = {title: more(before[title], held(them), count) for title, them in of.items()}
    for title, (nbytes, descriptors) in grown.items():
        yield Row(f"  growth of the {title}, by each", nbytes / 1e3, "KB")
        yield Row("    more descriptors, in all", descriptors * count, "")
    return grown


def _bare_spawns(count: int) -> dict[str, tuple[float, float]]:
    """What MPI_Comm_spawn alone, of two processes, leaves in its caller and in MPI's launcher."""
    command = plain_mpiexec([*SPAWNS_OF_MPI, str(count)])
    out = subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout
    return dict(json.loads(out))


def _files(folder: str) -> int:
    both = (folder, f"/dev/shm/{os.path.basename(folder)}")
    return sum(len(names) for at in both for _, _, names in os.walk(at))
