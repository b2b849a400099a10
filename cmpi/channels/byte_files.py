"""Channels of bytes as files: what `Sender[bytes].makefile()` and `Receiver[bytes].makefile()` stand on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cmpi.errors import EndOfChannel

if TYPE_CHECKING:
    from cmpi.channels.receiver import Receiver
    from cmpi.channels.sender import Sender


class Writer(io.RawIOBase):
    """Each write is a message."""

    def __init__(self, sender: Sender[bytes]) -> None:
        self._sender = sender

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        if piece:
            self._sender.send(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._sender.close()
        super().close()


class Reader(io.RawIOBase):
    """Messages, as one stream."""

    def __init__(self, receiver: Receiver[bytes]) -> None:
        self._receiver = receiver
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(self._receiver.recv())
            except EndOfChannel:
                return 0
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    def close(self) -> None:
        if not self.closed:
            self._receiver.close()
        super().close()
