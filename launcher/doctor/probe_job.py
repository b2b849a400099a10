"""The program of the doctor's real job: tries each feature once, and prints the results."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

PATIENCE_S = 25  # for each step: on a busy machine a spawn takes several seconds


def main() -> None:
    """Each rank runs this; rank 0 does the checks and prints the results."""
    import numpy as np
    from mpi4py import MPI
    from numpy.typing import NDArray

    import cmpi

    MPI.COMM_WORLD.Barrier()
    if MPI.COMM_WORLD.rank:
        return

    def echo(parent: cmpi.Pid) -> None:
        out = cmpi.Sender[NDArray[np.float64]](parent)
        for array in cmpi.Receiver[NDArray[np.float64]](parent):
            out.send(array)

    def die(parent: cmpi.Pid) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    small = cmpi.Resources(cpus=0.001, memory="1 MiB")
    begin_s = time.perf_counter()
    pid = cmpi.spawn(echo, resources=small)
    to, back = cmpi.Sender[NDArray[np.float64]](pid), cmpi.Receiver[NDArray[np.float64]](pid)
    to.send(np.ones(1))
    back.recv(timeout=PATIENCE_S)
    spawn_s = time.perf_counter() - begin_s
    array = np.ones(1 << 20)
    times = []
    for _ in range(5):
        begin_s = time.perf_counter()
        to.send(array)
        back.recv(timeout=PATIENCE_S)
        times.append(time.perf_counter() - begin_s)
    victim = cmpi.spawn(die, resources=small)
    status = cmpi.wait(victim, timeout=PATIENCE_S)
    cmpi.kill(victim)
    to.send(np.ones(1))
    survived = status.signal == signal.SIGKILL and back.recv(timeout=PATIENCE_S)[0] == 1
    to.close()
    from cmpi._runtime.process import context

    answer = {
        "library": " ".join(MPI.Get_library_version().splitlines()[0].partition(",")[0].split()),
        "ranks": MPI.COMM_WORLD.size,
        "spawn_ms": spawn_s * 1e3,
        "shared_memory": bool(context.current().exits.shares_memory(pid)),
        "gb_per_s": 2 * array.nbytes / min(times) / 1e9,
        "survived": bool(survived),
        "host": os.uname().nodename,
    }
    print(json.dumps(answer), flush=True)
    sys.stdout.flush()
