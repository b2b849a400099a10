"""Behind the benchmark `standing`, by MPI alone: `mpiexec -n 1 python ... COUNT` starts two processes by
MPI_Comm_spawn, COUNT times. It prints what each spawn leaves in this program and in MPI's launcher: bytes
and descriptors."""

from __future__ import annotations

import json
import sys

import psutil
from mpi4py import MPI

from cmpi.bench.jobs.limited import held, more, title

WARM_UP = 10
CHILD = "from mpi4py import MPI; MPI.Comm.Get_parent().Disconnect()"


def main() -> None:
    """Spawn, measure and print."""
    count, info = int(sys.argv[1]), MPI.Info.Create({"bind_to": "none"})
    parts = {title(above): above for above in psutil.Process().parents()} | {"root": psutil.Process()}
    parts.pop("", None)

    def spawn(times: int) -> dict[str, tuple[int, int]]:
        for _ in range(times):
            MPI.COMM_SELF.Spawn(sys.executable, ["-c", CHILD], maxprocs=2, info=info).Disconnect()
        return {name: held([it]) for name, it in parts.items()}

    before, after = spawn(WARM_UP), spawn(count)
    print(json.dumps({name: more(before[name], after[name], count) for name in after}))


if __name__ == "__main__":
    main()
