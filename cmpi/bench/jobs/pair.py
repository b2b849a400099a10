"""The job behind `channels`: two spawned processes, connected in three ways that are measured in turn.

    cmpirun python -m cmpi.bench.jobs.pair NAME RUNS

The raw communicator is made by MPI_Comm_accept and MPI_Comm_connect.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Client, Listener
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cmpi
from cmpi.bench.channels import ARRAY_BYTES

ROUND_TRIPS, MESSAGES, ARRAYS, WAKE_UPS = 1000, 10_000, 30, 20
OBJECT = ("abc", 1.5, [1, 2, 3])


class Ways:
    """The connections between the two. The process with `first` does the timing."""

    def __init__(self, partner: cmpi.Pid, folder: str, first: bool) -> None:
        from mpi4py import MPI

        self.first = first
        self.to: cmpi.Sender[Any] = cmpi.Sender(partner)
        self.of: cmpi.Receiver[Any] = cmpi.Receiver(partner)
        self.arrays_to = cmpi.Sender[NDArray[np.float64]](partner, name="arrays")
        self.arrays_of = cmpi.Receiver[NDArray[np.float64]](partner, name="arrays")
        if first:
            port, key = MPI.Open_port(), os.urandom(32)
            listener = Listener(f"{folder}/pipe", authkey=key)
            self.to.send((port, key))
            self.pipe = listener.accept()
            self.comm = MPI.COMM_SELF.Accept(port)
        else:
            port, key = self.of.recv()
            self.pipe = Client(f"{folder}/pipe", authkey=key)
            self.comm = MPI.COMM_SELF.Connect(port)
        for _ in range(30):  # until both rings are in use
            self.pingpong_cmpi(1)

    # Each is called in both processes; the time in the first one counts.

    def pingpong_cmpi(self, n: int = ROUND_TRIPS) -> None:
        to, of = self.to, self.of
        for _ in range(n):
            if self.first:
                to.send(OBJECT)
                of.recv()
            else:
                of.recv()
                to.send(OBJECT)

    def pingpong_raw(self, n: int = ROUND_TRIPS) -> None:
        comm = self.comm
        for _ in range(n):
            if self.first:
                comm.send(OBJECT, 0)
                comm.recv(source=0)
            else:
                comm.recv(source=0)
                comm.send(OBJECT, 0)

    def pingpong_pipe(self, n: int = ROUND_TRIPS) -> None:
        pipe = self.pipe
        for _ in range(n):
            if self.first:
                pipe.send(OBJECT)
                pipe.recv()
            else:
                pipe.recv()
                pipe.send(OBJECT)

    def rate_cmpi(self) -> None:
        to, of = self.to, self.of
        for _ in range(MESSAGES):
            to.send(OBJECT) if self.first else of.recv()
        of.recv() if self.first else to.send(0)

    def rate_raw(self) -> None:
        comm = self.comm
        for _ in range(MESSAGES):
            comm.send(OBJECT, 0) if self.first else comm.recv(source=0)
        comm.recv(source=0) if self.first else comm.send(0, 0)

    def rate_pipe(self) -> None:
        pipe = self.pipe
        for _ in range(MESSAGES):
            pipe.send(OBJECT) if self.first else pipe.recv()
        pipe.recv() if self.first else pipe.send(0)

    def stream_cmpi(self) -> None:
        for _ in range(ARRAYS):
            self.arrays_to.send(_array) if self.first else self.arrays_of.recv()
        self.of.recv() if self.first else self.to.send(0)

    def stream_loan(self) -> None:
        for i in range(ARRAYS):
            if self.first:
                array = self.arrays_to.loan(_array.shape)
                array[0] = i
                self.arrays_to.send(array)
            else:
                self.arrays_of.recv()
        self.of.recv() if self.first else self.to.send(0)

    def tensor_numpy(self) -> None:
        self._objects(_array)

    def tensor_torch(self) -> None:
        import torch

        self._objects(torch.from_numpy(_array))

    def _objects(self, value: object) -> None:
        for _ in range(ARRAYS):
            self.to.send(value) if self.first else self.of.recv()
        self.of.recv() if self.first else self.to.send(0)

    def stream_raw(self) -> None:
        comm = self.comm
        for _ in range(ARRAYS):
            comm.Send(_array, 0) if self.first else comm.Recv(_target, 0)
        comm.recv(source=0) if self.first else comm.send(0, 0)

    def stream_memcpy(self) -> None:
        if self.first:
            for _ in range(ARRAYS):
                np.copyto(_target, _array)

    def dict_cmpi(self) -> None:
        for _ in range(100):
            if self.first:
                self.to.send(_dict)
                self.of.recv()
            else:
                self.of.recv()
                self.to.send(0)

    def dict_raw(self) -> None:
        from mpi4py.util import pkl5

        comm = pkl5.Intercomm(self.comm)
        for _ in range(100):
            if self.first:
                comm.send(_dict, 0)
                comm.recv(source=0)
            else:
                comm.recv(source=0)
                comm.send(0, 0)

    def wakeup_cmpi(self) -> float:
        """Seconds from just before the send to just after the receive, measured by the receiver."""
        return self._wakeup(self.to.send, self.of.recv)

    def wakeup_raw(self) -> float:
        return self._wakeup(lambda v: self.comm.send(v, 0), lambda: self.comm.recv(source=0))

    def _wakeup(self, send: Any, receive: Any) -> float:
        times = []
        for _ in range(WAKE_UPS):
            if self.first:
                sent = receive()
                times.append(time.monotonic() - sent)
            else:
                time.sleep(0.01)
                send(time.monotonic())
        return statistics.median(times) if times else 0.0


_array = np.ones(ARRAY_BYTES // 8)
_target = np.zeros_like(_array)
_dict = {f"field {i}": np.ones(16_384) for i in range(8)}

# By benchmark: its connections, and the conversion of a round's seconds into its figure.
MEASURES: dict[str, tuple[tuple[str, ...], Any]] = {
    "pingpong": (("cmpi", "raw", "pipe"), lambda s: s / ROUND_TRIPS * 1e6),
    "rate": (("cmpi", "raw", "pipe"), lambda s: MESSAGES / s / 1e3),
    "stream": (("cmpi", "loan", "raw", "memcpy"), lambda s: ARRAYS * ARRAY_BYTES / s / 1e9),
    "tensor": (("torch", "numpy"), lambda s: ARRAYS * ARRAY_BYTES / s / 1e9),
    "dict": (("cmpi", "raw"), lambda s: s / 100 * 1e6),
    "wakeup": (("cmpi", "raw"), lambda s: s * 1e6),
}


def play(partner: cmpi.Pid, folder: str, name: str, runs: int, first: bool) -> dict[str, float]:
    """Run one of the two processes; the first one returns the median of every connection."""
    ways = Ways(partner, folder, first)
    names, figure = MEASURES[name]
    found: dict[str, list[float]] = {way: [] for way in names}
    for i in range(runs + 1):
        for way in names:
            ways.pingpong_cmpi(1)  # afterwards both are up
            started = time.perf_counter()
            result = getattr(ways, f"{name}_{way}")()
            took = time.perf_counter() - started
            if i:  # the first round warms up
                found[way].append(figure(took if result is None else result))
    ways.comm.Disconnect()
    return {way: statistics.median(values) for way, values in found.items()}


def first(parent: cmpi.Pid, folder: str, name: str, runs: int) -> None:
    partner: cmpi.Pid = cmpi.Receiver(parent).recv()
    cmpi.Sender[Any](parent).send(play(partner, folder, name, runs, True))


def second(parent: cmpi.Pid, partner: cmpi.Pid, folder: str, name: str, runs: int) -> None:
    play(partner, folder, name, runs, False)


def main() -> None:
    name, runs = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        one = cmpi.spawn(first, folder, name, runs)
        two = cmpi.spawn(second, one, folder, name, runs)
        cmpi.Sender[Any](one).send(two)
        print(json.dumps(cmpi.Receiver(one).recv()))
        cmpi.wait(two)


if __name__ == "__main__":
    main()
