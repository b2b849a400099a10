"""The socket to one peer: it may drop, and then another one continues the same stream.

Whichever thread reads the socket notices that it has dropped. The progress thread reports that to the root,
which has both sides connect again. Each then tells the other how much it has received (see `connector`),
and the other sends the rest again (see `retransmission`).
"""

from __future__ import annotations

from cmpi._runtime.process.socket_inbox import SocketInbox
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.socket_transport import SocketTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from cmpi._runtime.process.connection_host import ConnectionHost
    from cmpi._runtime.process.transport_reader import TransportReader


class ReplaceableSocket:
    """The socket to one peer. Guarded by the node's lock; never blocks.

    Args:
        host: This process.
        reader: Delivers what the peer sends.
    """

    def __init__(self, host: ConnectionHost, reader: TransportReader) -> None:
        self._host, self._reader = host, reader
        self._transport: SocketTransport | None = None  # the same for every socket
        self.inbox = SocketInbox(host, self._read)
        self.dropped = False  # the socket has dropped, and the root has not been told

    @property
    def down(self) -> bool:
        """True while there is no socket, although there has been one."""
        return self._transport is not None and not self.inbox.usable

    def suspend(self) -> int:
        """Prepare for another socket; return the position up to which the peer's stream has come."""
        self.inbox.free()
        return 0 if self._transport is None else self._transport.suspend()

    def resume(self, sock: _socket.socket, position: int, way: str) -> SocketTransport:
        """Continue by this socket, and return the transport; the peer has received everything before this
        position. Raises: ProtocolError: It is not the peer's."""
        transport = SocketTransport() if self._transport is None else self._transport
        transport.resume(sock, position, way)
        self._transport, self.dropped = transport, False
        self.inbox.connect(transport)
        return transport

    def _read(self, transport: SocketTransport) -> bool:
        """Take in what has arrived, in any thread; True if there was anything."""
        busy = transport.busy
        try:
            moved = transport.progress_sends()
            moved = self._reader.read(transport) or moved
        except TransportBroken:
            moved, self.dropped = False, True
            self.inbox.watch()  # before the descriptor is closed
            transport.free()
            self._host.nudge()  # the progress thread tells the root, or awaits this end of a dead peer
        if transport.busy and not busy:
            self._host.nudge()  # to write an acknowledgement
        return moved
