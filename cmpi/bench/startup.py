"""`cmpirun -n 1 python -c "from mpi4py import MPI"` against plain `mpiexec -n 1` of the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cmpi.bench.common import ENVIRONMENT, header, interleaved, plain_mpiexec, seconds

RUNS = 15
PROGRAM = ["python", "-c", "from mpi4py import MPI"]


def run(runs: int) -> Iterator[str]:
    """Lines of the table."""
    yield from header()
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
        runs, mpiexec=lambda: seconds(plain), cmpirun=lambda: seconds(ours), without=without_hooks
    )
    yield f"mpiexec -n 1                    {median['mpiexec'] * 1e3:7.1f} ms"
    yield f"cmpirun -n 1                    {median['cmpirun'] * 1e3:7.1f} ms"
    yield f"  ratio                         {median['cmpirun'] / median['mpiexec']:7.2f}    (at most 1.6)"
    yield f"mpiexec without UCX's hooks     {median['without'] * 1e3:7.1f} ms    (as cmpirun sets it)"
