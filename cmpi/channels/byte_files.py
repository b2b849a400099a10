"""Channels of bytes as files, which `Sender[bytes].makefile()` and `Receiver[bytes].makefile()` return."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cmpi._runtime.process.aborts import ends_in_order
from cmpi._runtime.process.unwinding import unwinding
from cmpi.errors import EndOfChannel

if TYPE_CHECKING:
    from types import TracebackType

    from cmpi.channels.base_receiver import BaseReceiver
    from cmpi.channels.base_sender import BaseSender


class _RawWriter(io.RawIOBase):
    """Sends each write as a message; once the channel was aborted, drops it."""

    def __init__(self, sender: BaseSender[bytes]) -> None:
        self._sender = sender
        self.given_up = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        if piece and not self.given_up:
            self._sender.send(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed and not self.given_up:
            self._sender.close()
        super().close()


class ByteWriter(io.BufferedWriter):
    """A binary file that sends the bytes written to it. An exception that leaves its `with` block aborts
    the channel: buffered bytes are not sent, and the reader gets an error instead of the end of the
    file."""

    def __init__(self, sender: BaseSender[bytes], buffer_bytes: int) -> None:
        self._sender, self._writer = sender, _RawWriter(sender)
        super().__init__(self._writer, buffer_bytes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not ends_in_order(error):
            self._sender.__exit__(kind, error, trace)
            self._writer.given_up = True
        self.close()

    def __del__(self) -> None:
        if not self._writer.closed and unwinding() is not None:
            self._writer.given_up = True  # the sender's own finalizer aborts the channel
        super().__del__()


class _RawReader(io.RawIOBase):
    """Reads the messages as one stream of bytes."""

    def __init__(self, receiver: BaseReceiver[bytes]) -> None:
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


class ByteReader(io.BufferedReader):
    """A binary file that reads the received bytes. An exception that leaves its `with` block aborts the
    channel: the sender gets an error that names the exception."""

    def __init__(self, receiver: BaseReceiver[bytes]) -> None:
        self._receiver = receiver
        super().__init__(_RawReader(receiver))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.__exit__(kind, error, trace)
        self.close()
