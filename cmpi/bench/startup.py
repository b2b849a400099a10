"""`cmpirun -n 1 python -c "from mpi4py import MPI"` against plain `mpiexec -n 1` of the same."""

from __future__ import annotations

import os
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
        runs or RUNS, mpiexec=lambda: seconds(plain), cmpirun=lambda: seconds(ours), without=without_hooks
    )
    cmpirun, mpiexec, without = (median[key] * 1e3 for key in ("cmpirun", "mpiexec", "without"))
    yield Row("start of one rank", cmpirun, "ms", "mpiexec -n 1", mpiexec, "at most 1.6")
    yield Row("  likewise", cmpirun, "ms", "mpiexec without UCX's hooks, as cmpirun sets it", without)
