"""Making links: a thread that sits in MPI's blocking calls, so that nobody else has to.

While it does, this process makes no other call of MPI's (`Node.linking`): MPICH 5.0.2 crashed in
MPI_Comm_accept, in about one of 500 links, when another thread sent or received meanwhile. The
root sees to it that both ends are at it at the same time, so that this is a matter of milliseconds.
"""

from __future__ import annotations

import queue
import threading
import time

from cmpi._core import frames, host_frames, link_frames
from cmpi._core.wire import decode, encode_bare
from cmpi._transport import mpi, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._runtime.node import Node

ORDERS = (
    frames.AcceptFrom,
    frames.ConnectTo,
    frames.GroupWith,
    host_frames.ListenFor,
    host_frames.Dial,
)
SOCKET_S = 10.0  # for the other end of a link by sockets to come
LOOK_S = 0.1  # between looks whether it has died
GREETING_S = 1.0  # the usher says at once who it is; a partner that died says nothing


class Linker:
    """Carries out the root's orders; there is one at a time.

    Args:
        node: The process. Its `enter_mpi` and `leave_mpi` are called around the blocking calls,
            `link_made` with a new link, `link_failed` with a peer, and `stuck` with a dead peer for
            whom MPI still waits.
        port: Where it accepts.
    """

    def __init__(self, node: Node, port: str) -> None:
        self._node, self._port = node, port
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._ready: set[int] = set()
        self._order: Any = None  # what the thread is inside MPI for
        self._abandoned: set[int] = set()
        self._released: set[int] = set()  # of these, those for whom the usher was asked to come
        self._hello = encode_bare(link_frames.Identify(node.pid.value))

    def order(self, frame: Any) -> None:
        """Take an order of the root's. Blocks: never."""
        if self._thread is None:
            self._thread = self._node.thread(self._run, "cmpi-linker")
            self._thread.start()
        self._orders.put(frame)

    def abandon(self, peer: int) -> None:
        """The partner of a half-made link has died."""
        with self._changed:
            self._abandoned.add(peer)
            self._changed.notify_all()
            order = self._order
            if order is None or order.peer != peer:
                return  # not begun, or done, or not inside MPI
            self._released.add(peer)
        self._node.stuck(peer)

    def ready(self, peer: int) -> None:
        """The partner is about to accept us."""
        with self._changed:
            self._ready.add(peer)
            self._changed.notify_all()

    def _await_ready(self, peer: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: peer in self._ready or peer in self._abandoned)
            self._ready.discard(peer)
            return peer not in self._abandoned

    def wait_idle(self) -> None:
        """Blocks until every link that was ordered is made or given up."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            link = self._make(order)
            if link is None:
                self._node.link_failed(order.peer)
            else:
                self._node.link_made(order.peer, link)

    def _make(self, order: Any) -> mpi.Link | stream.Link | None:
        if isinstance(order, host_frames.Dial):
            return stream.dial(order.address, order.port, order.key, SOCKET_S)
        if isinstance(order, host_frames.ListenFor):
            return self._listen(order)
        # Nobody but the usher gets a process out of a connect to one that has died. So the one that
        # will accept gives a sign of life first, from this very thread.
        if isinstance(order, frames.ConnectTo) and not self._await_ready(order.peer):
            return None
        if isinstance(order, frames.AcceptFrom):
            while not self._node.bell.call(order.peer) and order.peer not in self._abandoned:
                time.sleep(0.001)  # it is about to hang its bell up, or to be declared dead
        with self._changed:
            if order.peer in self._abandoned:
                return None
            self._order = order
        self._node.enter_mpi(order.peer)
        try:
            return self._meet(order)
        finally:
            self._node.leave_mpi()

    def _listen(self, order: host_frames.ListenFor) -> stream.Link | None:
        try:
            server = stream.listen(order.address)
        except OSError:
            time.sleep(LOOK_S)  # no descriptors left; the root has us try it again
            return None
        try:
            self._node.listening(order.peer, stream.port_of(server))
            end_s = time.monotonic() + SOCKET_S
            while time.monotonic() < end_s and order.peer not in self._abandoned:
                link = stream.accept(server, order.key, LOOK_S)
                if link is not None:
                    return link
        finally:
            stream.close(server)
        return None

    def _meet(self, order: Any) -> mpi.Link | None:
        while True:
            if isinstance(order, frames.GroupWith):
                link: mpi.Link | None = mpi.group(order.rank)
            elif isinstance(order, frames.ConnectTo):
                link = mpi.connect(order.port)
            else:
                link = mpi.accept(self._port)
            who = None if link is None else self._exchange_names(link, order.peer)
            with self._changed:
                if who == frames.NO_PID or order.peer not in self._released:
                    self._order = None
                    self._released.discard(order.peer)
                    break
            if link is not None:
                link.free()  # the dead partner's; the usher has been asked for, and is still to come
        if link is None or who == order.peer:
            return link
        if who == frames.NO_PID:
            link.disconnect()  # as the usher does
        else:
            link.free()
        return None

    def _exchange_names(self, link: mpi.Link, peer: int) -> int | None:
        """Who is at the other end: NO_PID for the usher, None for one that died just now."""
        end_s = time.monotonic() + GREETING_S
        try:
            link.send(self._hello)
            while (head := link.receive()) is None:
                if peer in self._abandoned and (peer not in self._released or time.monotonic() > end_s):
                    return None
                time.sleep(0)
        except mpi.LinkBroken:
            return None
        frame = decode(head)
        return frame.pid if isinstance(frame, link_frames.Identify) else None
