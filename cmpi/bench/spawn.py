"""Times `cmpi.spawn` up to the first message, compared with multiprocessing and a bare MPI_Comm_spawn.

Processes that are spawned at once stay until all are running, in both cases: bare ones wait in
MPI_Comm_disconnect.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from cmpi.bench.common import ENVIRONMENT, Row, in_a_job, plain_mpiexec

RUNS, AT_ONCE = 20, 60

_PLAIN = """
import sys, time
from mpi4py import MPI
runs, at_once = int(sys.argv[1]), int(sys.argv[2])
child = ["-c", "from mpi4py import MPI; MPI.Comm.Get_parent().Disconnect()"]
def one():
    started = time.monotonic()
    comm = MPI.COMM_SELF.Spawn(sys.executable, child, 1)
    took = time.monotonic() - started
    comm.Disconnect()
    return took
one()
times = sorted(one() for _ in range(runs))
started = time.monotonic()
comms = [MPI.COMM_SELF.Spawn(sys.executable, child, 1) for _ in range(at_once)]
last = time.monotonic() - started
for comm in comms: comm.Disconnect()
print(times[len(times) // 2], last)
"""


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    runs = runs or RUNS
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/plain.py", "w") as file:
            file.write(_PLAIN)
        alone, together = _numbers(
            plain_mpiexec([sys.executable, f"{folder}/plain.py", str(runs), str(AT_ONCE)])
        )
    ours = in_a_job("cmpi.bench.jobs.spawning", runs, AT_ONCE)
    bare = "MPI_Comm_spawn of a Python that imports mpi4py"
    at_once = f"{bare}, {AT_ONCE} at once"
    yield Row(
        "spawn, one after another",
        ours["spawn"] * 1e3,
        "ms",
        "multiprocessing's fork",
        ours["fork"] * 1e3,
        "at most 4",
    )
    yield Row(
        "  the same", ours["spawn"] * 1e3, "ms", "its forkserver", ours["forkserver"] * 1e3, "at most 0.5"
    )
    yield Row("  the same", ours["spawn"] * 1e3, "ms", bare, alone * 1e3)
    yield Row("the first of a job", ours["first"] * 1e3, "ms", bare, alone * 1e3)
    yield Row("one that uses MPI", ours["mpi"] * 1e3, "ms", bare, alone * 1e3, "at most 0.3")
    yield Row("100 that answer, one by one", ours["sustained"], "1/s", limit="at least 80")
    yield Row(f"{AT_ONCE} at once", ours["at_once"] * 1e3, "ms", at_once, together * 1e3, "at most 0.3")
    yield Row("  as many again", ours["again"] * 1e3, "ms", at_once, together * 1e3, "at most 0.3")
    yield Row("fibonacci(10): 176 processes", ours["fibonacci"], "s", limit="at most 2.5")
    yield Row("restart by a supervisor", ours["restart"] * 1e3, "ms", limit="at most 40")
    yield Row("one of 20 idle, PSS", ours["idle"] / 2**20, "MiB")
    yield Row("  with its monitor", (ours["idle"] + ours["monitor"]) / 2**20, "MiB", limit="at most 9")


def _numbers(command: list[str]) -> list[float]:
    environment = dict(ENVIRONMENT, PYTHONWARNINGS="ignore")
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in out.split()]
