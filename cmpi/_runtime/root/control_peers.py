"""The control connections of monitors, helpers and guests with the root."""

from __future__ import annotations

import select
from functools import partial

from cmpi._core.protocol import deployment_root, guest_root, helper_root, monitor_root
from cmpi._transport import control_socket
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.root.root_loop import RootLoop
    from cmpi._transport.door import Door

AT_THE_DOOR = {
    **helper_root.TO_ROOT,
    **monitor_root.TO_ROOT,
    **guest_root.TO_ROOT,
    **deployment_root.TO_ROOT,
}


class ControlPeer:
    """An authenticated connection: of a monitor, a helper, a guest or a deploying cmpirun.

    Args:
        stream: The connection.
        on_frame: Called with each frame that arrives; may be replaced.
    """

    def __init__(
        self, stream: control_socket.ControlSocket, on_frame: Callable[[ControlPeer, Any], None]
    ) -> None:
        self.stream, self.on_frame = stream, on_frame
        self.title = "a process that has not said what it is"
        self.gone: Callable[[ControlPeer], None] = lambda peer: None  # called when the connection is closed


class ControlPeers:
    """All control connections. Nothing blocks.

    Args:
        loop: The root's loop.
        door: Accepts and authenticates connections.
        introduce: Called with a new peer and the first frame that it sends; may raise `ProtocolError`.
        say: Shows the user a line of text.
    """

    def __init__(
        self,
        loop: RootLoop,
        door: Door,
        introduce: Callable[[ControlPeer, Any], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop, self._door, self._introduce, self._say = loop, door, introduce, say
        self._peers: set[ControlPeer] = set()
        loop.watch(door.fileno(), lambda _: None)  # admitted in every turn: see `admit`

    @property
    def deadline_s(self) -> float | None:
        """When `admit` has something to do."""
        return self._door.deadline_s

    def admit(self, now_s: float) -> None:
        """Accept the connections that have been authenticated."""
        for sock in self._door.admit(now_s):
            peer = ControlPeer(control_socket.ControlSocket(sock, AT_THE_DOOR), self._introduce)
            self._peers.add(peer)
            self._loop.watch(sock.fileno(), partial(self._serve, peer))
        if self._door.fault:
            self._say(f"cannot accept a monitor: {self._door.fault}")
            self._door.fault = ""

    def send(self, peer: ControlPeer, frame: Any) -> None:
        """Send a frame, now or as soon as the peer takes it."""
        peer.stream.send(frame)
        if peer.stream.backlog:
            self._loop.watch_writing(peer.stream.fileno(), True)

    def _serve(self, peer: ControlPeer, events: int) -> None:
        if events & select.EPOLLOUT and peer.stream.flush():
            self._loop.watch_writing(peer.stream.fileno(), False)
        if events & ~select.EPOLLOUT:
            try:
                for frame in peer.stream.receive():
                    if peer in self._peers:  # unless the peer was dropped for what it sent
                        peer.on_frame(peer, frame)
            except ProtocolError as error:
                self._say(f"closed the connection of {peer.title}: {error}")
                peer.stream.closed = True
        if peer.stream.closed:
            self.drop(peer)

    def drop(self, peer: ControlPeer) -> None:
        """Close the connection of a peer, as if the peer had done so. A second call does nothing."""
        if peer in self._peers:
            self._forget(peer)

    def _forget(self, peer: ControlPeer) -> None:
        self._loop.forget(peer.stream.fileno())
        self._peers.remove(peer)
        peer.stream.close()
        peer.gone(peer)

    def close(self) -> None:
        """Close all connections at once."""
        for peer in self._peers:
            peer.stream.close()
