"""Cuts a frame and its buffers into records on the way out, and reassembles them on the way in.

By MPI, the frame and each buffer are separate messages. Through a ring, they are records: first the frame,
then its buffers in pieces. A frame that is too long for one record is also cut into pieces, preceded by its
length.
"""

from __future__ import annotations

from collections import deque

from cmpi._core.protocol import process_process
from cmpi._core.protocol.wire import decode
from cmpi._runtime.process.shared_payloads import following
from cmpi._transport.buffer_pool import blank
from cmpi._transport.ring import HUGE_BYTES, LARGE_BYTES, PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Final

    from cmpi._transport.ring import RingWriter

# The tags of records. Any other tag is the number of a channel, and the record is a small message.
FRAME: Final = 0xFFFFFFFF
LONG: Final = 0xFFFFFFFD
PIECE_BYTES: Final = 1 << 15
HUGE_FROM_BYTES: Final = 16 << 20  # from this size on, sending in pieces is worth a larger ring


class OutgoingFrame:
    """A frame to be sent, with its buffers. `done` is called when the buffers, if any, are free again."""

    def __init__(self, head: bytes, buffers: Sequence[Any], done: Callable[[], None] | None) -> None:
        self.head, self.buffers, self.done = head, buffers, done
        self._records: Iterator[tuple[int, Any]] | None = None
        self._next: tuple[int, Any] | None = None

    def put(self, writer: RingWriter) -> bool:
        """Put as much into the ring as fits; True if nothing is left. Blocks: never."""
        if self._records is None:
            self._records = self._cut(writer)
            self._next = next(self._records)
        while self._next is not None:
            if not writer.put(*self._next):
                return False
            self._next = next(self._records, None)
        if self.buffers and self.done is not None:
            self.done()
        return True

    def _cut(self, writer: RingWriter) -> Iterator[tuple[int, Any]]:
        nbytes = len(self.head) + sum(memoryview(buffer).nbytes for buffer in self.buffers)
        if self.buffers or len(self.head) > writer.longest:
            writer.grow(HUGE_BYTES if nbytes >= HUGE_FROM_BYTES else LARGE_BYTES)
        most = min(max(PIECE_BYTES, writer.longest // 6), writer.longest)
        if len(self.head) <= writer.longest:
            yield FRAME, self.head
        else:
            yield LONG, len(self.head).to_bytes(8, "little")
            yield from _pieces(self.head, most)
        for buffer in self.buffers:
            yield from _pieces(buffer, most)


def _pieces(buffer: Any, most: int) -> Iterator[tuple[int, memoryview]]:
    view = memoryview(buffer).cast("B")
    for at in range(0, len(view), most):
        yield PIECE, view[at : at + most]


class Joiner:
    """Joins buffers of these sizes that arrive in pieces, in order."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.buffers = [blank(size) for size in sizes]
        self._left = deque(memoryview(buffer).cast("B") for buffer in self.buffers if len(buffer))

    @property
    def whole(self) -> bool:
        """True if nothing is missing."""
        return not self._left

    def add(self, piece: bytes | memoryview) -> None:
        """Add the next piece, which never extends beyond one buffer."""
        view = self._left.popleft()
        view[: len(piece)] = piece
        if len(piece) < len(view):
            self._left.appendleft(view[len(piece) :])


class Assembly:
    """Reassembles frames and buffers that arrive through a ring in pieces.

    Args:
        deliver: Called with each frame and its buffers, once they are complete.
        more_comes: Called when the first piece of something has arrived, because the rest will follow at
            once.
    """

    def __init__(
        self, deliver: Callable[[Any, Sequence[Any]], None], more_comes: Callable[[], None]
    ) -> None:
        self._deliver, self._more_comes = deliver, more_comes
        self._joiner: tuple[Joiner, Callable[[list[Any]], None]] | None = None

    @property
    def under_way(self) -> bool:
        """True if something has arrived in part."""
        return self._joiner is not None

    def take(self, tag: int, body: Any) -> None:
        """Take the next record: bytes, or a view of a `PIECE`."""
        if tag == PIECE:
            self._piece(body)
        elif tag == FRAME:
            self._frame(body)
        else:
            self._join([int.from_bytes(body, "little")], lambda whole: self._frame(bytes(whole[0])))

    def _frame(self, head: bytes) -> None:
        frame = decode(head, process_process.TO_PEER)
        sizes = following(frame)
        if sizes:
            self._join(sizes, lambda buffers: self._deliver(frame, buffers))
        else:
            self._deliver(frame, ())

    def _join(self, sizes: list[int], then: Callable[[list[Any]], None]) -> None:
        joiner = Joiner(sizes)
        if joiner.whole:
            then(joiner.buffers)
        else:
            self._joiner = joiner, then
            self._more_comes()  # tells the progress thread, which may be another thread

    def _piece(self, piece: memoryview) -> None:
        assert self._joiner is not None
        joiner, then = self._joiner
        joiner.add(piece)
        if joiner.whole:
            self._joiner = None
            then(joiner.buffers)
