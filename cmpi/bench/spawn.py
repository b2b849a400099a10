"""From `cmpi.spawn` to the running closure, against a bare MPI_Comm_spawn of a cold Python.

Those that are spawned at once stay until all run, on both sides: bare ones wait in MPI_Comm_disconnect.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from cmpi.bench.common import ENVIRONMENT, header, plain_mpiexec

RUNS = 20

_OURS = """
import os, sys, time, cmpi, psutil
runs, at_once = int(sys.argv[1]), int(sys.argv[2])
small = cmpi.Resources(0.001, "1 MiB")
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
stubs = [p for p in psutil.process_iter() if p.cmdline()[-1:] == ["fork"]]
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


def run(runs: int) -> Iterator[str]:
    """Lines of the table."""
    yield from header()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("ours.py", _OURS), ("plain.py", _PLAIN)):
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)
        arguments = [str(runs), str(AT_ONCE)]
        plain = _numbers(plain_mpiexec([sys.executable, f"{folder}/plain.py", *arguments]))
        ours = _numbers(["cmpirun", "--output", "plain", sys.executable, f"{folder}/ours.py", *arguments])
    yield f"one after another: MPI_Comm_spawn   {plain[0] * 1e3:7.1f} ms"
    yield f"                   cmpi.spawn       {ours[0] * 1e3:7.1f} ms"
    yield f"  ratio                             {ours[0] / plain[0]:7.2f}    (at most 0.5)"
    yield f"{AT_ONCE} at once:        MPI_Comm_spawn   {plain[1] * 1e3:7.1f} ms"
    yield f"                   cmpi.spawn       {ours[1] * 1e3:7.1f} ms"
    yield f"  ratio                             {ours[1] / plain[1]:7.2f}    (at most 0.4)"
    process, monitor, *stub = (value / 2**20 for value in ours[2:])
    yield f"one of 20 idle, PSS                 {process:7.1f} MiB"
    yield f"its monitor, PSS                    {monitor:7.1f} MiB"
    yield f"  together                          {process + monitor:7.1f} MiB (at most 15 MB = 14.3 MiB)"
    if stub:
        yield f"the stub that MPI watches, PSS      {stub[0]:7.1f} MiB"


def _numbers(command: list[str]) -> list[float]:
    environment = dict(ENVIRONMENT, PYTHONWARNINGS="ignore")
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in out.split()]
