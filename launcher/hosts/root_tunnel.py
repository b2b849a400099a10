"""Relays connections of processes on other hosts to the root: each is a channel of its host's agent, and a
socket here.

A process has proved to the agent that it knows the job's secret. The root wants a proof of its own, which
cmpirun gives in the process's place.
"""

from __future__ import annotations

import os
import selectors
import socket

from cmpi._core.protocol import launcher_agent
from cmpi._transport import proof
from cmpi.launcher.hosts.pipes import RootPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.authentication import Key
    from cmpi.launcher.hosts.remote_host import RemoteHost


class RootTunnel:
    """All relayed connections. Not thread-safe; nothing blocks.

    Args:
        selector: Watches the sockets; each one's `data` is to be called with the events.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self.address = ""  # of the root's socket
        self.key: Key = b""  # the job's secret

    def connect(self, host: RemoteHost, channel: int) -> None:
        """A process there has connected to its agent, which stands in for the root: connect to the root for
        it."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            proof.connect(sock, self.address)
        except OSError:
            sock.close()
            host.tell(launcher_agent.Shut(channel))
            return
        connection = host.channels[channel] = RootPipe(sock.detach(), self.key)
        self._selector.register(
            connection.readable, selectors.EVENT_READ, (self._serve, host, channel, connection)
        )

    def _serve(self, host: RemoteHost, channel: int, connection: RootPipe, events: int) -> None:
        if connection.closed:
            return  # by what came in the same round
        if events & selectors.EVENT_WRITE:
            self._write(connection, b"")
        if events & selectors.EVENT_READ:
            data = connection.read()
            if data:
                for at in range(0, len(data), launcher_agent.PIECE_BYTES):
                    host.tell(launcher_agent.Piece(channel, data[at : at + launcher_agent.PIECE_BYTES]))
            elif data == b"":
                if host.channels.pop(channel, None) is not None:
                    host.tell(launcher_agent.Shut(channel))
                self._end(connection)
                return
        if connection.left and connection.proved:
            self._end(connection)
        else:
            self._watch(connection)

    def pass_on(self, host: RemoteHost, channel: int, data: bytes) -> None:
        """Pass data of that process to the root."""
        connection = host.channels[channel]
        self._write(connection, data)
        self._watch(connection)

    @staticmethod
    def _write(connection: RootPipe, data: bytes) -> None:
        try:
            connection.write(data)
        except OSError:
            connection.unsent.clear()  # the root has closed it: its end will be read

    def _watch(self, connection: RootPipe) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        key = self._selector.get_key(connection.readable)
        if key.events != events:
            self._selector.modify(connection.readable, events, key.data)

    def close(self, host: RemoteHost, channel: int) -> None:
        """Close a connection: the process has closed it, or its host is lost."""
        connection = host.channels.pop(channel, None)
        if connection is None:
            return
        if connection.proved:
            self._end(connection)
        else:
            connection.left = True  # what it has sent goes to the root behind the proof

    def _end(self, connection: RootPipe) -> None:
        connection.closed = True
        self._selector.unregister(connection.readable)
        self._push_last(connection)
        os.close(connection.readable)

    @staticmethod
    def _push_last(connection: RootPipe) -> None:
        """Write a monitor's last frames to the root, which always reads."""
        try:
            os.set_blocking(connection.writable, True)
            while connection.unsent:
                del connection.unsent[: os.write(connection.writable, connection.unsent)]
        except OSError:
            pass  # it has closed its end
