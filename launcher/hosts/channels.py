"""Connections of this host that go on, as numbered channels, on another one."""

from __future__ import annotations

import selectors
import socket

from cmpi._core.protocol.launcher_agent import PIECE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Channels:
    """All channels. Not thread-safe; nothing blocks.

    Args:
        selector: Watches the connections; each one's `data` is to be called with the events.
        came: Called with a channel and data that came from its connection.
        ended: Called with a channel whose connection has ended.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        came: Callable[[int, bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._selector, self._came, self._ended = selector, came, ended
        self._connections: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytearray] = {}
        self._ending: set[int] = set()  # the other side has ended them

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, channel: int) -> bool:
        return channel in self._connections

    def add(self, channel: int, connection: socket.socket) -> None:
        """A new channel, to this connection."""
        connection.setblocking(False)
        self._connections[channel] = connection
        self._unsent[channel] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ, (self._serve, channel))

    def push(self, channel: int, data: bytes) -> None:
        """Write data to a channel's connection, now or as soon as it accepts them; drop them if there is no
        such channel any more."""
        if channel in self._connections:
            self._unsent[channel] += data
            self._push(channel)

    def shut(self, channel: int) -> None:
        """The other side has ended this channel: close its connection once the rest is written."""
        if channel in self._connections:
            self._ending.add(channel)
            self._push(channel)

    def shut_all(self) -> None:
        """Shut all channels."""
        for channel in list(self._connections):
            self.shut(channel)

    def _close(self, channel: int) -> None:
        connection = self._connections.pop(channel)
        del self._unsent[channel]
        self._ending.discard(channel)
        self._selector.unregister(connection)
        connection.close()

    def _serve(self, channel: int, events: int) -> None:
        if channel not in self._connections:
            return  # closed by an earlier event of this round
        if events & selectors.EVENT_WRITE:
            self._push(channel)
        if events & selectors.EVENT_READ and channel in self._connections:
            try:
                data = self._connections[channel].recv(PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._came(channel, data)
            else:
                self._close(channel)
                self._ended(channel)

    def _push(self, channel: int) -> None:
        connection, waiting = self._connections[channel], self._unsent[channel]
        try:
            while waiting:
                del waiting[: connection.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            waiting.clear()  # its end will be read
        if channel in self._ending and not waiting:
            self._close(channel)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
        key = self._selector.get_key(connection)
        if key.events != events:
            self._selector.modify(connection, events, key.data)
