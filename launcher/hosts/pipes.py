"""Pairs of descriptors that cmpirun reads and writes without blocking: to agents, and to the root."""

from __future__ import annotations

import os
import selectors

from cmpi._core.protocol import authentication
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._core.protocol.authentication import Key


class BufferedPipe:
    """A pair of descriptors with a write buffer. Nothing blocks."""

    def __init__(self, readable: int, writable: int) -> None:
        self.readable, self.writable = readable, writable
        self.unsent = bytearray()
        for fd in (readable, writable):
            os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        """Write now, or queue the data. Raises: OSError: The reader has closed its end."""
        self.unsent += data
        try:
            while self.unsent:
                del self.unsent[: os.write(self.writable, self.unsent)]
        except BlockingIOError:
            pass

    def read(self) -> bytes | None:
        """Data that has come; b"" at the end, None if there is none yet."""
        try:
            return os.read(self.readable, 1 << 20)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class WatchedPipe(BufferedPipe):
    """A pair of descriptors whose write buffer is emptied by a selector's loop.

    Args:
        readable: Is read by the caller.
        writable: Is written.
        selector: Watches `writable` while anything waits; its `data` is to be called with the events.
        moved: Called when some of what waited was written.
    """

    def __init__(
        self, readable: int, writable: int, selector: selectors.BaseSelector, moved: Callable[[], None]
    ) -> None:
        super().__init__(readable, writable)
        self._selector, self._moved = selector, moved

    def write(self, data: bytes) -> None:
        """Write now, or queue the data. If the reader has closed its end, drop everything, for which the
        caller sees the end of `readable`."""
        waited = bool(self.unsent)
        try:
            super().write(data)
        except OSError:
            self.unsent.clear()
        if self.unsent and not waited:
            self._selector.register(self.writable, selectors.EVENT_WRITE, (self._ready,))
        elif waited and not self.unsent:
            self._selector.unregister(self.writable)

    def drop(self) -> None:
        """Drop what waits."""
        if self.unsent:
            self.unsent.clear()
            self._selector.unregister(self.writable)

    def _ready(self, _: int) -> None:
        if self.unsent:  # else it was dropped by an earlier event of this round
            self.write(b"")
            self._moved()


class RootPipe(BufferedPipe):
    """A connection to the root that begins with the handshake; what is written before its end waits."""

    def __init__(self, fd: int, key: Key) -> None:
        super().__init__(fd, fd)
        self.left = False  # the process has closed its end
        self.closed = False
        self._client = authentication.Client(key, os.urandom(authentication.NONCE_BYTES))
        self._due = authentication.GREETING_BYTES  # of the root's next message in the handshake; 0: none
        self._came = b""
        self._early = bytearray()

    @property
    def proved(self) -> bool:
        """Whether the handshake is over."""
        return not self._due

    def write(self, data: bytes) -> None:
        """As for any pipe, once the root has proved itself."""
        if self._due:
            self._early += data
        else:
            super().write(data)

    def read(self) -> bytes | None:
        """As for any pipe, behind the handshake. A root that fails in that has closed the connection."""
        while self._due:
            try:
                data = os.read(self.readable, self._due - len(self._came))
                if not data:
                    return b""
                self._came += data
                if len(self._came) == self._due:
                    self._advance()
            except BlockingIOError:
                return None
            except (OSError, ProtocolError):
                return b""
        return super().read()

    def _advance(self) -> None:
        came, self._came = self._came, b""
        if self._due == authentication.GREETING_BYTES:
            self._due = authentication.PROOF_BYTES
            super().write(self._client.answer(came))
        else:
            self._client.check(came)
            self._due = 0
            early, self._early = bytes(self._early), bytearray()
            super().write(early)
