"""The way of frames to one peer and back: by MPI at first, through shared memory once that pays.

After some frames each side offers the other a ring in the job's folder (and for large payloads,
segments). Where the other can map it, a `Switch` is the last frame by MPI; where it cannot, being on
another host, all stays with MPI. A buffer that found no room in a segment follows by MPI, and
frames are heard in the order they were sent however their buffers travel.

    out   mpi ──Offer──▶ offered ──Answer(mapped)──▶ ring          in   mpi ──Switch──▶ ring
"""

from __future__ import annotations

import os
from collections import deque

from cmpi._core import frames, link_frames
from cmpi._core.wire import decode, encode_bare
from cmpi._transport import mpi, ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from cmpi._ids import Pid
    from cmpi._runtime.changes import Changes
    from cmpi._runtime.node import Node
    from cmpi._transport.segment import Place, SegmentReader, SegmentWriter

    class Listener(Protocol):
        def hear(self, frame: Any, buffers: Sequence[Any]) -> None: ...
        def hear_small(self, number: int, body: bytes) -> bool: ...


OFFER_AFTER = 8  # frames: most processes of a tree exchange fewer, and a ring is 256 KiB
LOOKS = 4000  # of a reader, some 150 us: as long as it takes to fall asleep and be woken
NAPS, NAP_S = 12, 30e-6  # of a dozing reader; some 90 us each
FIRST_SEGMENT_BYTES = 8 << 20
AHEAD = 4  # a segment is made for so many buffers of the size that found no room
_FRAME = 0xFFFFFFFF  # the tag of any frame; other tags are channels, and the record a small message


class Lane:
    """Frames and buffers to and from one peer. Guarded by the node's lock; nothing blocks."""

    def __init__(self, node: Node, pid: Pid, listener: Listener) -> None:
        self._node, self._pid, self._listener = node, pid, listener
        self.link: mpi.Link | None = None
        self.announced = 0  # frames that the peer says it has sent by MPI
        self._ending = False  # our last frame is sent, or waits to be
        self.freed = False
        self._asked = False  # the root, for a link
        self._outbox: deque[tuple[bytes, Sequence[Any], Callable[[], None] | None]] = deque()
        self._held: deque[tuple[Any, mpi.Parts | None]] = deque()  # frames that wait for their buffers
        self._writer: ring.RingWriter | None = None  # in use
        self._reader: ring.RingReader | None = None  # mapped
        self._reading = False  # frames come through it
        # The progress thread looks into the ring every millisecond, so that the writer need not ring.
        # To ring, and to be rung for, costs ten times as much as a message.
        self.watched = False
        self._awaited = False  # somebody slept until the last frames came
        self._in_vain = self._doze_after = 0  # dozes without success, waits until the next
        self._position = 0  # of the ring, when the progress thread last looked
        self._offered: dict[int, Any] = {}  # writers that the peer has not answered for
        self._bulky = False  # large buffers were sent
        self._ring_offered = False
        self._filled: list[SegmentWriter] = []
        self._mapped: dict[int, SegmentReader] = {}
        self._shared_bytes = 0  # of segments, ever offered

    # -- out -----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if no frame waits to be sent."""
        return not self._outbox

    def post(
        self,
        frame: Any,
        buffers: Sequence[Any] = (),
        done: Callable[[], None] | None = None,
        *,
        wake: bool = True,
    ) -> None:
        """Send a frame, now or as soon as it can be; none behind the last.

        Args:
            frame: What to send.
            buffers: What belongs to it and goes by MPI.
            done: Is called when the buffers are free again.
            wake: If False the peer need not look at it before it has a reason of its own.
        """
        if self._ending:
            return
        self._outbox.append((encode_bare(frame), buffers, done))
        if self.link is not None:
            self.flush(wake=wake)
        elif not self._asked:
            self._asked = True
            self._node.watch(self._pid)
            self._node.tell_root(frames.Link(self._pid.value))

    def post_last(self, frame: Any) -> None:
        """Send the last frame. What followed it, if only the answer to an offer, would stay unread in
        MPI (see `Peer.progress`)."""
        self.post(frame)
        self._ending = True

    def post_small(self, number: int, body: bytes) -> None:
        """Send a message that is all in its pickle: the way of most, and the shortest."""
        writer = self._writer
        if writer is not None and not self._outbox and not self._ending and writer.put(number, body):
            if writer.must_wake():
                self._ring_bell()
        else:
            self.post(link_frames.Data(number, [], [], body))

    def hush(self) -> None:
        """The peer has ended: what waits will not be sent, nor what would come."""
        self._ending = True
        self._outbox.clear()

    def flush(self, *, wake: bool = True) -> None:
        """Send what waits, if it can be sent now."""
        link, node = self.link, self._node
        if link is None or self.freed:
            return
        sent_before, waited = link.sent, len(self._outbox)
        try:
            while self._outbox and self._send(link, *self._outbox[0]):
                self._outbox.popleft()
            if waited:
                self._offer_ring(link)
        except mpi.LinkBroken:
            return  # the exit notice will come, and say why
        writer = self._writer if wake and len(self._outbox) < waited else None
        if (writer is not None and writer.must_wake()) or link.sent > sent_before:
            self._ring_bell()
        if link.busy or self._outbox:
            node.nudge()

    def _send(
        self, link: mpi.Link, head: bytes, buffers: Sequence[Any], done: Callable[[], None] | None
    ) -> bool:
        """Send one frame; False if it has to wait."""
        if self._node.linking and (buffers or self._writer is None):
            return False
        if self._writer is None:
            link.send(head)
        elif not self._writer.put(_FRAME, head):
            return False
        if buffers:
            self._bulky = True
            link.send_buffers(buffers, done)
        return True

    def _ring_bell(self) -> None:
        assert self.link is not None
        self._node.bell.ring(self._pid.value, self.link.sent)

    # -- shared memory -------------------------------------------------------------------------

    def reserve(self, sizes: list[int]) -> list[Place | None]:
        """Places for buffers of these sizes, None for those that must go by MPI."""
        places = [self._allocate(nbytes) for nbytes in sizes]
        if None in places and self._writer is not None and not self._offered:
            self._offer_segment(max(n for n, place in zip(sizes, places) if place is None))
        return places

    def _allocate(self, nbytes: int) -> Place | None:
        for segment in self._filled:
            place = segment.allocate(nbytes)
            if place is not None:
                return place
        return None

    def _offer_ring(self, link: mpi.Link) -> None:
        if self._ring_offered or self._ending or not self._node.shared_memory or self._node.linking:
            return
        if (link.sent < OFFER_AFTER and not self._bulky) or not ring.usable():
            return
        self._ring_offered = True
        try:
            writer = ring.RingWriter(self._path(self._node.pid, self._pid, link_frames.RING))
        except OSError:
            return
        self._offered[link_frames.RING] = writer
        link.send(encode_bare(link_frames.Offer(link_frames.RING, ring.RING_BYTES)))

    def _offer_segment(self, nbytes: int) -> None:
        left = self._node.shared_memory_bytes - self._shared_bytes
        size = min(max(FIRST_SEGMENT_BYTES, AHEAD << (nbytes - 1).bit_length()), left)
        if size < nbytes:
            return
        from cmpi._transport.segment import SegmentWriter

        number = len(self._filled) + 1
        try:
            if ring.free_bytes(self._node.shared_memory) < 2 * size:
                return  # others need some, too
            self._offered[number] = SegmentWriter(
                self._path(self._node.pid, self._pid, number), number, size
            )
        except OSError:
            return
        self._shared_bytes += size
        self.post(link_frames.Offer(number, size))

    def _path(self, writer: Pid, reader: Pid, number: int) -> str:
        return f"{self._node.shared_memory}/{writer.value:x}-{reader.value:x}-{number}"

    def _map(self, offer: link_frames.Offer) -> None:
        path = self._path(self._pid, self._node.pid, offer.number)
        mapped = True
        try:
            if offer.number == link_frames.RING:
                self._reader = ring.RingReader(path)
            else:
                from cmpi._transport.segment import SegmentReader

                self._mapped[offer.number] = SegmentReader(path, offer.nbytes)
        except OSError:
            mapped = False
        self.post(link_frames.Answer(offer.number, mapped))

    def _answered(self, answer: link_frames.Answer) -> None:
        if not answer.mapped:
            self._offered.pop(answer.number, None)
            self._unlink(answer.number)
        elif answer.number == link_frames.RING:
            if not self._ending and self.link is not None:
                self.link.send(encode_bare(link_frames.Switch()))
                self._writer = self._offered.pop(link_frames.RING)
                self._ring_bell()
        else:
            self._filled.append(self._offered.pop(answer.number))

    def _unlink(self, number: int) -> None:
        """Remove the file of what we offered."""
        try:
            os.unlink(self._path(self._node.pid, self._pid, number))
        except OSError:
            pass  # the peer has, when it mapped it or tried to

    @property
    def busy(self) -> bool:
        """True if something is under way, here or in MPI, that only further calls bring to its end."""
        return bool(self._outbox) or (self.link is not None and self.link.busy)

    # -- in ------------------------------------------------------------------------------------

    @property
    def restless(self) -> bool:
        """True if looking again soon is worth it."""
        if self.link is None or self.freed:
            return False
        by_mpi = self.link.busy or self.link.received < self.announced
        return bool(by_mpi or self._held or self._outbox)

    def look(self, looks: int = LOOKS) -> bool:
        """Look at the ring so many times (some 150 us), in the caller's thread, and hear what comes.
        False if nothing did."""
        reader = self._reader
        if reader is None or not self._reading or self._node.linking:
            return False
        reader.wait(looks)
        try:
            moved = self._read_ring(reader)
            if not (moved and self.watched):
                self.watched = False
                moved |= self._fall_asleep(reader)
        except mpi.LinkBroken:
            return False  # the exit notice will come, and say why
        return moved

    def doze(self, changed: Changes, ready: Callable[[], bool]) -> None:
        """Look at the ring by and by for a millisecond, until `ready()`.

        The next of a stream of large messages comes while its sender copies: to look for it costs this
        process less than the sender has to pay to ring. Where that was in vain, it is not tried the
        next times. Blocks: for that long, without the lock.
        """
        reader = self._reader
        if reader is None or not self._reading:
            return
        if self._doze_after > 0:
            self._doze_after -= 1
            return
        try:
            for _ in range(NAPS):
                reader.wait(0)
                changed.wait(NAP_S)
                if self._node.linking or self.freed:
                    return
                self._read_ring(reader)
                if ready():
                    self._in_vain = 0
                    return
            self._in_vain = min(self._in_vain + 1, 6)
            self._doze_after = 1 << self._in_vain
        except mpi.LinkBroken:
            return  # the exit notice will come, and say why
        finally:
            self.look(1)  # which falls asleep

    def progress(self) -> bool:
        """Move what can be moved; True if something was. Raises: LinkBroken."""
        link = self.link
        if link is None or self.freed or self._node.linking:
            return False
        moved = link.progress_sends()
        while not self._reading and (head := link.receive()) is not None:
            moved = True
            self._arrived(decode(head))
        while self._held and (self._held[0][1] is None or self._held[0][1].ready()):
            frame, parts = self._held.popleft()
            moved = True
            self._deliver(frame, () if parts is None else parts.buffers)
        if self._reading and self._reader is not None:
            moved |= self._watch(self._reader)
        if self._outbox:
            waiting = len(self._outbox)
            self.flush()
            moved |= len(self._outbox) < waiting
        return moved

    def _watch(self, reader: ring.RingReader) -> bool:
        """Read the ring, in the progress thread, and either let the writer ring for what follows, or
        look again by and by, if much comes for which nobody waits."""
        moved = self._read_ring(reader)
        position, before = reader.position, self._position
        self._position = position
        self.watched = position != before and not self._awaited
        if self.watched:
            reader.wait(0)
        else:
            moved |= self._fall_asleep(reader)
        return moved

    def _fall_asleep(self, reader: ring.RingReader) -> bool:
        """Have the writer ring for what comes next; True if something came before that."""
        moved = False
        while not reader.sleep():
            moved |= self._read_ring(reader)
        return moved

    def _read_ring(self, reader: ring.RingReader) -> bool:
        """Hear all that is in the ring."""
        self._awaited = False
        records = reader.take()
        for tag, body in records:
            if tag == _FRAME:
                self._awaited = True
                self._arrived(decode(body))
            elif self._held:
                self._held.append((link_frames.Data(tag, [], [], body), None))
            elif self._listener.hear_small(tag, body):
                self._awaited = True
        return bool(records)

    def _arrived(self, frame: Any) -> None:
        parts = None
        if isinstance(frame, link_frames.Data) and frame.sizes:
            sizes = frame.sizes
            if frame.places:
                sizes = [n for n, segment in zip(sizes, frame.places[::3]) if not segment]
            if sizes:
                assert self.link is not None
                parts = self.link.expect(sizes)
        if parts is None and not self._held:
            self._deliver(frame, ())
        else:
            self._held.append((frame, parts))
            self._node.nudge()  # a reader's own thread may have taken it; MPI's part is not for that

    def _deliver(self, frame: Any, buffers: Sequence[Any]) -> None:
        if isinstance(frame, link_frames.Data):
            if frame.places:
                buffers = self._gather(frame, buffers)
            self._listener.hear(frame, buffers)
        elif isinstance(frame, link_frames.Offer):
            self._map(frame)
        elif isinstance(frame, link_frames.Answer):
            self._answered(frame)
        elif isinstance(frame, link_frames.Switch):
            self._reading = True
        else:
            self._listener.hear(frame, buffers)

    def _gather(self, frame: link_frames.Data, by_mpi: Sequence[Any]) -> list[Any]:
        """The buffers in order, wherever they lie."""
        followed = iter(by_mpi)
        places = iter(frame.places)
        return [
            self._mapped[segment].take(index, offset, nbytes) if segment else next(followed)
            for nbytes, segment, index, offset in zip(frame.sizes, places, places, places)
        ]

    # -- the end -------------------------------------------------------------------------------

    def free(self) -> None:
        """Let go of the link and the memory. What was received stays where it is."""
        if self.link is not None and not self.freed:
            self.freed = True
            self.link.free()
        for number in self._offered:
            self._unlink(number)
        self._offered.clear()
        self._writer = self._reader = None
        self._reading = self.watched = False
        self._filled.clear()
        self._mapped.clear()  # what was received holds on to its own
