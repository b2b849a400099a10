"""Making links: a thread that sits in blocking calls, so that nobody else has to.

While it is inside MPI, this process makes no other call of MPI's (`Node.linking`). The root sees to it
that both ends are at it at the same time, so that this is a matter of milliseconds.
"""

from __future__ import annotations

import queue
import threading
import time

from cmpi._core.protocol.process_root_connections import Dial, GroupWith, ListenFor
from cmpi._runtime.process.vital_thread import vital_thread
from cmpi._transport import mpi, socket_transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._runtime.process.node import Node

ORDERS = (
    GroupWith,
    ListenFor,
    Dial,
)
SOCKET_S = 10.0  # for the other end of a link by sockets to come
LOOK_S = 0.1  # between looks whether it has died


class Connector:
    """Carries out the root's orders; there is one at a time.

    Args:
        node: The process. Its `enter_mpi` and `leave_mpi` are called around MPI's blocking calls,
            `link_made` with a new link, `link_failed` with a peer.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._abandoned: set[int] = set()

    def order(self, frame: Any) -> None:
        """Take an order of the root's. Blocks: never."""
        if self._thread is None:
            self._thread = vital_thread(self._run, "cmpi-linker")
            self._thread.start()
        self._orders.put(frame)

    def abandon(self, peer: int) -> None:
        """The partner of a half-made link has died."""
        self._abandoned.add(peer)

    def wait_idle(self) -> None:
        """Blocks until every link that was ordered is made or given up."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            transport = None if order.peer in self._abandoned else self._make(order)
            if transport is None:
                self._node.connection_failed(order.peer)
            else:
                self._node.transport_made(order.peer, transport)

    def _make(self, order: Any) -> mpi.MpiTransport | socket_transport.SocketTransport | None:
        if isinstance(order, Dial):
            return socket_transport.dial(order.address, order.port, order.key, SOCKET_S)
        if isinstance(order, ListenFor):
            return self._listen(order)
        self._node.enter_mpi(order.peer)
        try:
            return mpi.group(order.rank)
        finally:
            self._node.leave_mpi()

    def _listen(self, order: ListenFor) -> socket_transport.SocketTransport | None:
        try:
            door = socket_transport.listen(order.address, order.key)
        except OSError:
            time.sleep(LOOK_S)  # no descriptors left; the root has us try it again
            return None
        try:
            self._node.listening(order.peer, socket_transport.port_of(door))
            end_s = time.monotonic() + SOCKET_S
            while time.monotonic() < end_s and order.peer not in self._abandoned:
                transport = socket_transport.accept(door, LOOK_S)
                if transport is not None:
                    return transport
        finally:
            socket_transport.close(door)
        return None
