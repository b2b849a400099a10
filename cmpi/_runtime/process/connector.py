"""Creates connections, in its own thread, because that blocks.

While it is inside MPI, this process makes no other MPI call (`NodeState.connecting`). The root makes both
ends connect at the same time, so this takes only milliseconds.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time

from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_connections import (
    ConnectionFailed,
    ConnectionUp,
    Dial,
    DialThrough,
    GroupWith,
    ListenFor,
    Listening,
)
from cmpi._runtime.process.vital_thread import vital_thread
from cmpi._transport import clock, mpi, socket_transport
from cmpi.errors import ProtocolError
from cmpi.identifiers import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import TypeAlias

    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.peers import Peers

    Order: TypeAlias = GroupWith | ListenFor | Dial | DialThrough

SOCKET_S = 10.0  # for the other end of a socket connection to appear
# For one attempt to reach it. The root then orders another one, with new packets: those of one attempt
# follow each other after 1, 2, 4 and 8 s.
DIAL_S = 4.0
LOOK_S = 0.1  # between checks whether the other end has died
STUCK_S = 120.0  # for one attempt to connect by MPI, which has no limit of its own
WIDOWED_S = 1.0  # the same, once the other end has died


class _Attempt:
    """An order, from its arrival until it is done."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.abandoned = False


class Connector:
    """Carries out the root's orders, one at a time.

    Args:
        state: The state of this process.
        peers: They get the connections.
    """

    def __init__(self, state: NodeState, peers: Peers) -> None:
        self._state, self._peers = state, peers
        self._orders: queue.SimpleQueue[_Attempt | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._attempts: dict[int, _Attempt] = {}  # by peer: what was ordered last, until it is done
        self._with, self._until_s = 0, 0.0  # of the current attempt by MPI

    def order(self, frame: Order) -> None:
        """Take an order of the root. Blocks: never."""
        if self._thread is None:
            self._thread = vital_thread(self._run, "cmpi-connector")
            self._thread.start()
        attempt = self._attempts[frame.peer] = _Attempt(frame)
        self._orders.put(attempt)

    def abandon(self, peer: int) -> None:
        """The other end of an unfinished connection has died, or has given up."""
        attempt = self._attempts.get(peer)
        if attempt is not None:
            attempt.abandoned = True
        if self._state.connecting and self._with == peer:
            self._until_s = clock.now_s() + WIDOWED_S

    def end_if_stuck(self) -> None:
        """End this process if MPI does not return: it could not even end normally."""
        if not self._state.connecting or clock.now_s() <= self._until_s:
            return
        why = f"MPI has not returned from connecting this process with {Pid(self._with)}"
        print(f"cmpi: {why}; it ends", file=sys.stderr, flush=True)
        self._state.tell_root(process_root.Raised(why, ""))
        os._exit(1)

    def wait_idle(self) -> None:
        """Wait until every ordered connection is made or given up. Blocks: for that."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (attempt := self._orders.get()) is not None:
            order = attempt.order
            made = not attempt.abandoned and self._make(attempt)
            if self._attempts.get(order.peer) is attempt:
                del self._attempts[order.peer]
            if not made:
                # The root will order it again if the other end is alive.
                self._state.tell_root(ConnectionFailed(order.peer))
            self._state.nudge()

    def _make(self, attempt: _Attempt) -> bool:
        order = attempt.order
        if isinstance(order, GroupWith):
            self._enter_mpi(order.peer)
            try:
                transport = mpi.group(order.rank)
            finally:
                self._leave_mpi()
            with self._state.lock:
                self._peers.get(Pid(order.peer)).transport_up(transport)
            self._state.tell_root(ConnectionUp(order.peer))
            return True
        if isinstance(order, Dial):
            sock = socket_transport.dial(order.address, order.port, order.key, DIAL_S)
        elif isinstance(order, DialThrough):
            sock = socket_transport.dial_through(order, DIAL_S)
        else:
            sock = self._listen(order, attempt)
        carried = isinstance(order, DialThrough) or (isinstance(order, ListenFor) and order.carried)
        way = socket_transport.CARRIED if carried else socket_transport.DIRECT
        return sock is not None and self._hand_over(order.peer, sock, way)

    def _hand_over(self, pid: int, sock: _socket.socket, way: str) -> bool:
        """Let the connection go on by this socket; False if that fails."""
        with self._state.lock:
            position = self._peers.get(Pid(pid)).connection.socket.suspend()
        try:
            position = socket_transport.exchange(sock, position)
            with self._state.lock:
                self._peers.get(Pid(pid)).socket_up(sock, position, way)
                # With the lock: the progress thread may report the next drop, but not before this.
                self._state.tell_root(ConnectionUp(pid))
        except (OSError, ProtocolError):
            sock.close()
            return False
        return True

    def _enter_mpi(self, pid: int) -> None:
        with self._state.lock:
            self._state.connecting, self._with = True, pid
            self._until_s = clock.now_s() + STUCK_S
        self._state.nudge()  # the progress thread, in case MPI never returns

    def _leave_mpi(self) -> None:
        with self._state.lock:
            self._state.connecting = False
            for peer in self._peers:
                peer.connection.flush()
        self._state.nudge()

    def _listen(self, order: ListenFor, attempt: _Attempt) -> _socket.socket | None:
        try:
            door = socket_transport.listen(order.address, order.key)
        except OSError:
            time.sleep(LOOK_S)  # no descriptors left; the root will order it again
            return None
        try:
            # At a TCP port or (0) at a path.
            self._state.tell_root(Listening(order.peer, socket_transport.port_of(door)))
            end_s = clock.now_s() + SOCKET_S
            while clock.now_s() < end_s and not attempt.abandoned:
                sock = socket_transport.accept(door, LOOK_S)
                if sock is not None:
                    return sock
        finally:
            socket_transport.close(door)
        return None
