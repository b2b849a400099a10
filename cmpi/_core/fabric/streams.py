"""Streams of bytes between processes of two hosts, as the fabric agents of these hosts see them. Pure.

A stream is one connection between two processes. Each agent holds a socket to its own process, and the
stream carries what comes from one socket to the other, in both directions, until each process has stopped
sending. The parts of all streams share the messages between the two agents, in order, so many small writes
of many processes make few messages.

An agent reads from its process only what the other agent has room for. Credit goes back as the process
there takes it: a slow reader stops its own writer, and no other.

Nothing here survives the agents, and nothing needs to: both processes count what they have received, and
go on by another connection.
"""

from __future__ import annotations

import struct
from collections import deque

from cmpi._base.frozen import frozen
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

WINDOW_BYTES = 1 << 21  # of one direction of a stream: sent, and not known to be taken by the process there
# The most in one message: below 64 KiB, above which MPI over TCP asks the receiver before it sends.
MESSAGE_BYTES = 60_000
_OPEN, _DATA, _CREDIT, _END = range(1, 5)
_PART = struct.Struct("<BII")  # kind, stream, and: a pid, the number of bytes that follow, credit, or 0
PIECE_BYTES = MESSAGE_BYTES - _PART.size  # the most to be read from a process at a time


@frozen
class Opened:
    """A process of the other host connects to a process of this host."""

    stream: int
    pid: int


@frozen
class BytesCame:
    """Bytes for this host's process."""

    stream: int
    data: memoryview


@frozen
class Room:
    """There is room again for what this host's process sends."""

    stream: int


@frozen
class StreamEnded:
    """The process there will send nothing more."""

    stream: int


if TYPE_CHECKING:
    Event: TypeAlias = Opened | BytesCame | Room | StreamEnded


class _Stream:
    def __init__(self) -> None:
        self.room = WINDOW_BYTES
        self.owed = 0  # bytes that the process here has taken, for which no credit was given yet
        self.sends = self.receives = True


class Streams:
    """All streams between this host and one other. Methods never block.

    Args:
        first: Whether this host's agent is the first of the two; the agents must differ in this.
    """

    def __init__(self, *, first: bool) -> None:
        self._own = 0 if first else 1  # the numbers of streams that this side opens are even, or odd
        self._opened = 0
        self._streams: dict[int, _Stream] = {}
        self._parts: deque[bytes] = deque()
        self.waiting_bytes = 0  # in parts that `message` has not returned yet

    def __contains__(self, stream: int) -> bool:
        return stream in self._streams

    def __len__(self) -> int:
        return len(self._streams)

    # -- this host -------------------------------------------------------------------------

    def open(self, pid: int) -> int:
        """Open a stream to a process of the other host; returns its number."""
        stream = self._own + 2 * self._opened
        self._opened += 1
        self._streams[stream] = _Stream()
        self._put(_OPEN, stream, pid)
        return stream

    def room(self, stream: int) -> int:
        """How many bytes may be read from this host's process now."""
        return self._streams[stream].room

    def read(self, stream: int, data: bytes) -> None:
        """This host's process has sent these bytes: no more than there was room for."""
        self._streams[stream].room -= len(data)
        self._put(_DATA, stream, len(data), data)

    def ended(self, stream: int) -> None:
        """This host's process will send nothing more."""
        if self._streams[stream].sends:
            self._streams[stream].sends = False
            self._put(_END, stream, 0)
            self._forget(stream)

    def taken(self, stream: int, nbytes: int) -> None:
        """This host's process has taken so many bytes, or never will: give credit for them."""
        each = self._streams.get(stream)
        if each is None or not each.receives:
            return  # the process there has ended: it waits for no credit
        each.owed += nbytes
        if each.owed >= WINDOW_BYTES // 4:
            self._put(_CREDIT, stream, each.owed)
            each.owed = 0

    def message(self) -> bytes | None:
        """The next message to the other agent; None if there is nothing to say."""
        if not self._parts:
            return None
        parts, size = [self._parts.popleft()], 0
        size += len(parts[0])
        while self._parts and size + len(self._parts[0]) <= MESSAGE_BYTES:
            parts.append(self._parts.popleft())
            size += len(parts[-1])
        self.waiting_bytes -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _put(self, kind: int, stream: int, number: int, data: bytes = b"") -> None:
        part = _PART.pack(kind, stream, number) + data
        self._parts.append(part)
        self.waiting_bytes += len(part)

    # -- the other host --------------------------------------------------------------------

    def arrived(self, message: bytes) -> list[Event]:
        """A message of the other agent has come.

        Raises:
            ProtocolError: It cannot be one.
        """
        events: list[Event] = []
        view, at = memoryview(message), 0
        while at < len(view):
            if len(view) - at < _PART.size:
                raise ProtocolError("a message between fabric agents ends within a part")
            kind, stream, number = _PART.unpack_from(view, at)
            at += _PART.size
            data = view[at : at + (number if kind == _DATA else 0)]
            at += len(data)
            events += self._part(kind, stream, number, data)
        return events

    def _part(self, kind: int, stream: int, number: int, data: memoryview) -> list[Event]:
        if kind == _OPEN:
            if stream in self._streams or stream % 2 == self._own:
                raise ProtocolError(f"fabric agents: stream {stream} is opened by the wrong side, or twice")
            self._streams[stream] = _Stream()
            return [Opened(stream, number)]
        each = self._streams.get(stream)
        if kind == _CREDIT and each is None:
            return []  # given while our last bytes were on their way
        if each is None or kind not in (_DATA, _CREDIT, _END) or (kind != _CREDIT and not each.receives):
            raise ProtocolError(
                f"fabric agents: a part of kind {kind} for stream {stream}, which has ended"
            )
        if kind == _CREDIT:
            each.room += number
            if each.room > WINDOW_BYTES:
                raise ProtocolError(f"fabric agents: too much credit for stream {stream}")
            return [Room(stream)] if each.sends else []
        if kind == _DATA:
            if len(data) != number:
                raise ProtocolError("a message between fabric agents ends within a part")
            return [BytesCame(stream, data)]
        each.receives = False
        self._forget(stream)
        return [StreamEnded(stream)]

    def _forget(self, stream: int) -> None:
        """Forget a stream that has ended in both directions."""
        each = self._streams[stream]
        if not (each.sends or each.receives):
            del self._streams[stream]
