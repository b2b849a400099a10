"""What both ends of a connection keep so that it outlives its socket. Pure.

What one end sends is a stream of bytes, which may use one socket after another. As in TCP, the number of
bytes that came before is the sequence number; nothing has to be added to the stream. Each end counts what
it has received, and tells the other now and then (an acknowledgement). The sender keeps whatever is not
acknowledged. When the socket has dropped, both ends tell each other how much they have received, and send
everything behind that again. So each byte is taken in once, in order, wherever the stream was cut.

Frames belong to the connection and are kept by reference. Large buffers belong to the caller of `send`, who
gets them back when they are acknowledged, except for their last part: once everything is written and not
more than `tail_bytes` of it is unacknowledged, that part is copied. Waiting for all of it would leave the
network idle for a round trip after each message, and copying all of it would take as long as sending it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ACKNOWLEDGE_BYTES = 1 << 17  # received, after which the sender is told
# The same in the middle of a large buffer, whose sender still has more to write.
ACKNOWLEDGE_LATER_BYTES = 1 << 19
TAIL_BYTES = 1 << 18  # more than ACKNOWLEDGE_BYTES, or the sender would wait for ever
LONGEST_TAIL_BYTES = 1 << 22
TAIL_SHARE = 8  # of a message, the part that may be copied


def tail_bytes(nbytes: int) -> int:
    """How much of a message's buffers may be copied.

    >>> tail_bytes(1000), tail_bytes(8 << 20), tail_bytes(1 << 40)
    (262144, 1048576, 4194304)
    """
    return max(TAIL_BYTES, min(nbytes // TAIL_SHARE, LONGEST_TAIL_BYTES))


class _Piece:
    """Consecutive bytes of the stream."""

    __slots__ = ("data", "end", "lent")

    def __init__(self, data: bytes | memoryview, end: int, lent: bool) -> None:
        self.data, self.end = data, end
        self.lent = lent  # the memory belongs to the caller


class Retransmission:
    """One end of the two streams. Not thread-safe; never blocks."""

    def __init__(self) -> None:
        self.sent = 0  # bytes put into the stream
        self.written = 0  # of these, bytes given to the socket
        self.acknowledged = 0  # of these, bytes that the other end is known to have
        self.received = 0
        self._told = 0  # of what was received, as much as the other end was told
        self._unwritten: deque[_Piece] = deque()  # the first one in part, perhaps
        self._kept: deque[_Piece] = deque()  # written, but not acknowledged
        # Messages with lent buffers: their end, how much of them may be copied, and whom to tell.
        self._loans: deque[tuple[int, int, Callable[[], None] | None]] = deque()

    # -- out -------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """True if something waits to be written."""
        return bool(self._unwritten)

    @property
    def lending(self) -> bool:
        """True if buffers are in use that belong to the caller."""
        return bool(self._loans)

    def add(self, frame: bytes, written: int = 0) -> None:
        """Add bytes that will not change, of which so many were written at once, if nothing was waiting."""
        self.sent = end = self.sent + len(frame)
        piece = _Piece(frame, end, False)
        if written == len(frame):
            self.written = end
            self._kept.append(piece)
        else:
            self.written += written
            self._unwritten.append(piece)

    def lend(self, buffers: list[memoryview], done: Callable[[], None] | None) -> None:
        """Add buffers, which must not change until `done` is called."""
        before = self.sent
        for buffer in buffers:
            self.sent += len(buffer)
            self._unwritten.append(_Piece(buffer, self.sent, True))
        self._loans.append((self.sent, tail_bytes(self.sent - before), done))

    def pieces(self, most: int) -> list[bytes | memoryview]:
        """At most so many pieces of what is to be written next."""
        pieces = [piece.data for piece in islice(self._unwritten, most)]
        first = self._unwritten[0]
        left = first.end - self.written
        if left < len(first.data):
            pieces[0] = memoryview(first.data)[len(first.data) - left :]
        return pieces

    def wrote(self, nbytes: int) -> None:
        """So many bytes were written."""
        self.written = written = self.written + nbytes
        unwritten, kept = self._unwritten, self._kept
        while unwritten and unwritten[0].end <= written:
            kept.append(unwritten.popleft())
        if self._loans:
            self._return_loans()

    def acknowledge(self, position: int) -> None:
        """The other end has received everything before this position; it may have told so before.

        Raises:
            ProtocolError: That much was never written.
        """
        if position <= self.acknowledged:
            return
        if position > self.written:
            raise ProtocolError(f"{position} bytes acknowledged of {self.written}")
        self.acknowledged = position
        kept = self._kept
        while kept and kept[0].end <= position:
            kept.popleft()
        if self._loans:
            self._return_loans()

    def _return_loans(self) -> None:
        while self._loans:
            end, tail, done = self._loans[0]
            # Of buffers, also empty ones must be written: until then they are referred to.
            if (self._unwritten and self._unwritten[0].end <= end) or end - self.acknowledged > tail:
                return
            self._loans.popleft()
            for piece in self._kept:
                if piece.end > end:
                    break
                if piece.lent:
                    missing = min(len(piece.data), piece.end - self.acknowledged)
                    piece.data = bytes(piece.data[len(piece.data) - missing :])
                    piece.lent = False
            if done is not None:
                done()

    # -- in --------------------------------------------------------------------------------

    def took(self, nbytes: int, *, whole: bool) -> bool:
        """So many bytes were received; True if the other end should be told. `whole`: no part of a buffer
        is missing."""
        self.received += nbytes
        due = ACKNOWLEDGE_BYTES if whole else ACKNOWLEDGE_LATER_BYTES
        return self.received - self._told >= due

    def tell(self) -> int:
        """The position to be told, which counts as told."""
        self._told = self.received
        return self._told

    # -- a new socket ----------------------------------------------------------------------

    def resume(self, position: int) -> None:
        """There is a new socket, and the other end has received everything before this position.

        Raises:
            ProtocolError: It is not the other end of this connection.
        """
        if not self.acknowledged <= position <= self.written:
            raise ProtocolError(
                f"the other end has received {position} bytes, of {self.written} that were written and "
                f"{self.acknowledged} that it had acknowledged"
            )
        self.acknowledge(position)
        self._unwritten.extendleft(reversed(self._kept))
        self._kept.clear()
        self.written = position
