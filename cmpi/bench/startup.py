"""Times `cmpirun -n N python -c "from mpi4py import MPI"` against the same under `mpiexec -n N`, for one
rank and for four, and `cmpirun --in` against plain cmpirun."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from cmpi.bench.common import ENVIRONMENT, Row, interleaved, plain_mpiexec, seconds

RUNS = 15
PROGRAM = ["python", "-c", "from mpi4py import MPI"]


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    ours = ["cmpirun", "-n", "1", *PROGRAM]
    plain = plain_mpiexec(PROGRAM)

    def without_hooks() -> float:
        ENVIRONMENT["UCX_MEM_MMAP_HOOK_MODE"] = "none"
        try:
            return seconds(plain)
        finally:
            del ENVIRONMENT["UCX_MEM_MMAP_HOOK_MODE"]

    os.environ.pop("UCX_MEM_MMAP_HOOK_MODE", None)
    ENVIRONMENT.pop("UCX_MEM_MMAP_HOOK_MODE", None)
    median = interleaved(
        runs or RUNS,
        mpiexec=lambda: seconds(plain),
        cmpirun=lambda: seconds(ours),
        without=without_hooks,
        mpiexec_4=lambda: seconds(plain_mpiexec(PROGRAM, 4)),
        cmpirun_4=lambda: seconds(["cmpirun", "-n", "4", *PROGRAM]),
    )
    cmpirun, mpiexec, without = (median[key] * 1e3 for key in ("cmpirun", "mpiexec", "without"))
    cmpirun_4, mpiexec_4 = median["cmpirun_4"] * 1e3, median["mpiexec_4"] * 1e3
    yield Row("start of one rank", cmpirun, "ms", "mpiexec -n 1", mpiexec, "at most 1.35")
    yield Row("  the same", cmpirun, "ms", "mpiexec without UCX's hooks, as cmpirun sets it", without)
    yield Row("start of four ranks", cmpirun_4, "ms", "mpiexec -n 4", mpiexec_4, "at most 1.25")
    yield from _deployment(runs or RUNS)


def _deployment(runs: int) -> Iterator[Row]:
    """Time four ranks in a job that stays, and four in a job of their own."""
    name = f"bench-{os.getpid()}"
    serve = ["cmpirun", "--serve", "--name", name]
    with subprocess.Popen(serve, env=ENVIRONMENT, stdout=subprocess.PIPE) as job:
        try:
            assert job.stdout is not None
            job.stdout.readline()  # wait until it is up
            there = ["cmpirun", "--in", name, "-n", "4"]
            seconds([*there, "true"])  # starts the fork server
            median = interleaved(
                runs,
                there=lambda: seconds([*there, "true"]),
                alone=lambda: seconds(["cmpirun", "-n", "4", "true"]),
                there_mpi=lambda: seconds([*there, *PROGRAM]),
                alone_mpi=lambda: seconds(["cmpirun", "-n", "4", *PROGRAM]),
            )
        finally:
            job.terminate()
    there_ms, alone_ms = median["there"] * 1e3, median["alone"] * 1e3
    yield Row("4 ranks in a job that stays", there_ms, "ms", "cmpirun -n 4 true", alone_ms, "at most 0.34")
    there_ms, alone_ms = median["there_mpi"] * 1e3, median["alone_mpi"] * 1e3
    yield Row("  that import mpi4py.MPI", there_ms, "ms", "cmpirun -n 4 python ...", alone_ms)
