"""The job behind `hosts`: a rank on each of two hosts, connected in three ways.

cmpirun --host A:1,B:1 -n 2 python -m cmpi.bench.jobs.host_pair RUNS A B
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import cmpi
from cmpi._transport import socket_transport
from cmpi._transport.proof import HANDSHAKE_S, prove
from cmpi.bench.channels import ARRAY_BYTES

ROUND_TRIPS, MESSAGES, ARRAYS, SPAWNS = 300, 2000, 10, 5
SLEEPS, SLEEP_S = 20, 0.005
OBJECT = ("abc", 1.5, [1, 2, 3])
_array = np.ones(ARRAY_BYTES // 8)
_target = np.zeros_like(_array)
_bytes: memoryview = memoryview(_target.data).cast("B")


class HostWays:
    """The connections between the two ranks."""

    def __init__(self) -> None:
        self.world, self.first = MPI.COMM_WORLD, MPI.COMM_WORLD.rank == 0
        partner = cmpi.world()[1 if self.first else 0]
        self.to: cmpi.Sender[Any] = cmpi.Sender(partner)
        self.of: cmpi.Receiver[Any] = cmpi.Receiver(partner)
        self.arrays_to = cmpi.Sender[NDArray[np.float64]](partner, name="arrays")
        self.arrays_of = cmpi.Receiver[NDArray[np.float64]](partner, name="arrays")
        if self.first:
            key = os.urandom(32)
            door = socket_transport.listen("", key)
            self.world.send((socket.gethostname(), socket_transport.port_of(door), key), 1)
            proved = door.wait(time.monotonic() + HANDSHAKE_S)
            assert proved is not None, "the other host does not reach this one by TCP"
            door.close()
            self.socket = socket.socket(fileno=proved.detach())
            self.socket.setblocking(True)
        else:
            host, port, key = self.world.recv(source=0)
            self.socket = socket.create_connection((host, port))
            prove(self.socket, key)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _take(self, nbytes: int) -> None:
        view = _bytes[:nbytes]
        while view:
            view = view[self.socket.recv_into(view) :]

    def cmpi_send(self) -> None:
        self.to.send(OBJECT)

    def cmpi_receive(self) -> None:
        self.of.recv()

    def raw_send(self) -> None:
        self.world.send(OBJECT, 1 - self.world.rank)

    def raw_receive(self) -> None:
        self.world.recv(source=1 - self.world.rank)

    def tcp_send(self) -> None:
        self.socket.sendall(b"x" * 40)

    def tcp_receive(self) -> None:
        self._take(40)

    def cmpi_stream(self) -> None:
        self.arrays_to.send(_array) if self.first else self.arrays_of.recv()

    def raw_stream(self) -> None:
        self.world.Send(_array, 1) if self.first else self.world.Recv(_target, 0)

    def tcp_stream(self) -> None:
        self.socket.sendall(_array.data) if self.first else self._take(ARRAY_BYTES)

    def _turns(self, way: str) -> tuple[Any, Any]:
        """The two halves of a round trip, in the order in which this process takes them."""
        send, receive = getattr(self, f"{way}_send"), getattr(self, f"{way}_receive")
        return (send, receive) if self.first else (receive, send)

    def pingpong(self, way: str) -> float:
        """Microseconds for a round trip."""
        one, other = self._turns(way)
        started = time.perf_counter()
        for _ in range(ROUND_TRIPS):
            one()
            other()
        return (time.perf_counter() - started) / ROUND_TRIPS * 1e6

    def one_way(self, way: str) -> float:
        """Microseconds for each small message, until the last has arrived."""
        send, receive = getattr(self, f"{way}_send"), getattr(self, f"{way}_receive")
        started = time.perf_counter()
        for _ in range(MESSAGES):
            send() if self.first else receive()
        self.of.recv() if self.first else self.to.send(0)
        return (time.perf_counter() - started) / MESSAGES * 1e6

    def sleeping(self, way: str) -> float:
        """Microseconds for a round trip with a peer that has fallen asleep."""
        one, other = self._turns(way)
        times = []
        for _ in range(SLEEPS):
            if self.first:
                time.sleep(SLEEP_S)
            started = time.perf_counter()
            one()
            other()
            times.append(time.perf_counter() - started)
        return statistics.median(times) * 1e6

    def stream(self, way: str) -> float:
        """GB/s, until the last message has arrived."""
        move = getattr(self, f"{way}_stream")
        started = time.perf_counter()
        for _ in range(ARRAYS):
            move()
        self.of.recv() if self.first else self.to.send(0)
        return ARRAYS * ARRAY_BYTES / (time.perf_counter() - started) / 1e9


def spawn_ms(host: str) -> float:
    """Milliseconds from the call of spawn to the first message of the closure."""
    started = time.perf_counter()
    wanted = cmpi.Resources(host=host)
    pid = cmpi.spawn(lambda parent: cmpi.Sender[int](parent).send(1), resources=wanted)
    cmpi.Receiver[int](pid).recv()
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    runs, here, there = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    ways = HostWays()
    found: dict[str, Any] = {}
    for way in ("cmpi", "raw", "tcp"):
        found[way] = {"pingpong": [], "one_way": [], "sleeping": [], "stream": []}
    for i in range(runs + 1):
        for way in ("cmpi", "raw", "tcp"):
            for what in found[way]:
                figure = getattr(ways, what)(way)
                if i:  # the first round warms up
                    found[way][what].append(figure)
    figures = {way: {k: statistics.median(v) for k, v in of.items()} for way, of in found.items()}
    if ways.first:
        spawns: dict[str, list[float]] = {here: [], there: []}
        for i in range(SPAWNS + 1):
            for host, times in spawns.items():
                took = spawn_ms(host)
                if i:
                    times.append(took)
        medians = {
            "here": statistics.median(spawns[here]),
            "there": statistics.median(spawns[there]),
        }
        print(json.dumps({**figures, "spawn": medians}))
        ways.to.send(0)
    else:
        ways.of.recv()  # in MPI_Finalize it would busy-wait


if __name__ == "__main__":
    main()
