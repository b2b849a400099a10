"""Large payloads of one connection, in segments of shared memory for each direction.

A segment is offered by a frame, and used once the other side has answered that it has mapped it. A payload
that does not fit into a segment follows its frame on the connection instead.
"""

from __future__ import annotations

import os

from cmpi._core.channel.backoff import Backoff
from cmpi._core.protocol import process_process
from cmpi._transport import ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cmpi._transport.segment import Block, SegmentReader, SegmentWriter

FIRST_SEGMENT_BYTES = 8 << 20
WARM_BYTES = 1 << 20  # from this size on, a copy takes longer than returning a place
WAIT_S_PER_BYTE, MOST_WAIT_S = 8e-12, 1e-4
AHEAD = 4  # a new segment has room for this many buffers of the size that found none


class SharedPayloads:
    """Provides places for outgoing buffers, and maps the memory of incoming ones. Not thread-safe; only
    `await_last` blocks.

    Args:
        folder: The folder of the segments, known to both sides.
        limit_bytes: The limit of the total size of all segments offered.
        out: The stem of the names of our segments.
        into: The stem of the names of the peer's segments.
        post: Sends a frame to the peer.
    """

    def __init__(
        self, folder: str, limit_bytes: int, out: str, into: str, post: Callable[[Any], None]
    ) -> None:
        self._folder, self._left_bytes = folder, limit_bytes
        self._out, self._into, self._post = out, into, post
        self._offered: SegmentWriter | None = None  # not answered yet
        self._made = 0
        self._filled: list[SegmentWriter] = []
        self._mapped: dict[int, SegmentReader] = {}
        self._last: SegmentWriter | None = None  # in which the last place was reserved
        self._worth_it = Backoff()  # whether to wait for that place

    def reserve(self, sizes: list[int], *, may_offer: bool) -> list[Block | None]:
        """Reserve places for buffers of these sizes; None for those that find no room."""
        places = [self._allocate(nbytes) for nbytes in sizes]
        if None in places and may_offer and self._offered is None:
            self._offer(max(n for n, place in zip(sizes, places) if place is None))
        return places

    def await_last(self, nbytes: int) -> None:
        """Wait until the place reserved last is free, unless that was in vain the last times: it is in the
        CPU's caches, and copying a buffer of this size into another place takes a third longer.

        Blocks: for less time than that would cost.
        """
        if nbytes >= WARM_BYTES and self._last is not None and self._worth_it.due:
            self._worth_it.tried(self._last.await_last(min(nbytes * WAIT_S_PER_BYTE, MOST_WAIT_S)))

    def _allocate(self, nbytes: int) -> Block | None:
        for segment in self._filled:
            place = segment.allocate(nbytes)
            if place is not None:
                self._last = segment
                return place
        return None

    def _offer(self, nbytes: int) -> None:
        size = min(max(FIRST_SEGMENT_BYTES, AHEAD << (nbytes - 1).bit_length()), self._left_bytes)
        if size < nbytes:
            return
        number = self._made + 1
        try:
            from cmpi._transport.segment import SegmentWriter  # imports numpy

            if ring.free_bytes(self._folder) < 2 * size:
                return  # others need descriptors, too
            self._offered = SegmentWriter(f"{self._out}.s{number}", number, size)
        except OSError:
            return
        self._made = number
        self._left_bytes -= size
        self._post(process_process.Offer(number))

    def map(self, offer: process_process.Offer) -> None:
        """The peer offers a segment."""
        mapped = True
        try:
            from cmpi._transport.segment import SegmentReader  # imports numpy

            self._mapped[offer.number] = SegmentReader(f"{self._into}.s{offer.number}")
        except OSError:
            mapped = False
        self._post(process_process.OfferAnswer(offer.number, mapped))

    def answered(self, answer: process_process.OfferAnswer) -> None:
        """The peer has mapped the segment that was offered, or could not."""
        offered, self._offered = self._offered, None
        if offered is not None and answer.mapped:
            self._filled.append(offered)
        else:
            self._unlink(f"{self._out}.s{answer.number}")

    def gather(self, frame: process_process.Data, following: Sequence[Any]) -> list[Any]:
        """The buffers of a message in order, wherever they lie."""
        followed = iter(following)
        places = iter(frame.places)
        return [
            self._mapped[segment].take(index, offset, nbytes) if segment else next(followed)
            for nbytes, segment, index, offset in zip(frame.sizes, places, places, places)
        ]

    def free(self) -> None:
        """Release the memory. Buffers that were received keep their own reference to it."""
        self._last = None
        self._filled.clear()
        self._mapped.clear()

    def unlink(self) -> None:
        """Remove what nobody will map any more, because the peer has ended."""
        if self._offered is not None:
            self._unlink(f"{self._out}.s{self._offered.number}")

    @staticmethod
    def _unlink(path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            pass  # the peer removed it when it mapped it


def following(frame: Any) -> list[int]:
    """The sizes of the buffers that follow this frame."""
    if not isinstance(frame, process_process.Data) or not frame.places:
        return frame.sizes if isinstance(frame, process_process.Data) else []
    return [n for n, segment in zip(frame.sizes, frame.places[::3]) if not segment]
