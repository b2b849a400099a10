"""From `cmpi.spawn` to the running closure, against a bare MPI_Comm_spawn of a cold Python.

Those that are spawned at once stay until all run, on both sides: bare ones wait in MPI_Comm_disconnect.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from cmpi.bench.common import ENVIRONMENT, Row, plain_mpiexec

RUNS = 20

_OURS = """
import os, sys, time, cmpi, psutil
runs, at_once = int(sys.argv[1]), int(sys.argv[2])
small = cmpi.Resources()
stamp = lambda parent: cmpi.Sender(parent).send(time.monotonic())
def stay(parent):
    stamp(parent)
    cmpi.Receiver(parent).recv()
def one():
    started = time.monotonic()
    p = cmpi.spawn(stamp, resources=small)
    took = cmpi.Receiver(p).recv() - started
    cmpi.wait(p)
    return took
one()
times = sorted(one() for _ in range(runs))
started = time.monotonic()
pids = [cmpi.spawn(stay, resources=small) for _ in range(at_once)]
last = max(cmpi.Receiver(p).recv() for p in pids) - started
for p in pids: cmpi.Sender(p).send(0)
for p in pids: cmpi.wait(p)
def idle(parent):
    cmpi.Sender(parent).send(os.getpid())
    cmpi.Receiver(parent).recv()
idlers = [cmpi.spawn(idle, resources=small) for _ in range(20)]
ranks = [psutil.Process(cmpi.Receiver(p).recv()) for p in idlers]
time.sleep(0.5)
stubs = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[-1:] == ["fork"]]
pss = lambda processes: sum(p.memory_full_info().pss for p in processes) / len(processes)
print(times[len(times) // 2], last, pss(ranks), pss([r.parent() for r in ranks]), pss(stubs))
for p in idlers: cmpi.Sender(p).send(0)
"""

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
AT_ONCE = 60


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        for script, text in (("ours.py", _OURS), ("plain.py", _PLAIN)):
            with open(f"{folder}/{script}", "w") as file:
                file.write(text)
        arguments = [str(runs or RUNS), str(AT_ONCE)]
        plain = _numbers(plain_mpiexec([sys.executable, f"{folder}/plain.py", *arguments]))
        ours = _numbers(["cmpirun", "--output", "plain", sys.executable, f"{folder}/ours.py", *arguments])
    bare = "MPI_Comm_spawn of a Python that imports mpi4py"
    yield Row("spawn, one after another", ours[0] * 1e3, "ms", bare, plain[0] * 1e3, "at most 0.5")
    yield Row(f"spawn, {AT_ONCE} at once", ours[1] * 1e3, "ms", bare, plain[1] * 1e3, "at most 0.4")
    process, monitor, *stub = (value / 2**20 for value in ours[2:])
    yield Row("one of 20 idle, PSS", process, "MiB")
    yield Row("  with its monitor", process + monitor, "MiB", limit="at most 14.3")
    if stub:
        yield Row("  the stub that MPI watches, PSS", stub[0], "MiB")


def _numbers(command: list[str]) -> list[float]:
    environment = dict(ENVIRONMENT, PYTHONWARNINGS="ignore")
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in out.split()]
