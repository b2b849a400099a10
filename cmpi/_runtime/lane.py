"""The way of frames to one peer and back: through shared memory on one host, else by a link.

Each side chooses its own way out, with its first frame, and keeps to it: a ring in the job's folder
in shared memory, which the peer maps when it is rung for, or when it joins; a link, which the root
brings about, where there is no such folder or no room in it: by MPI within a world, else by a
socket. So a frame may come in by either.
A buffer follows its frame by the same way, if it found no place in a segment (see `payloads`).

Nothing of a ring needs both sides at the same time: what was put there can be read after its
writer has ended, and there is no moment at which the death of one harms the other.
"""

from __future__ import annotations

import select
from collections import deque

from cmpi._core import frames, link_frames
from cmpi._core.wire import decode, encode_bare
from cmpi._runtime.inward import Inward
from cmpi._runtime.parcels import Parcel
from cmpi._runtime.payloads import Payloads, following
from cmpi._transport import mpi, ring, stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cmpi._ids import Pid
    from cmpi._runtime.node import Node
    from cmpi._transport.segment import Place


class Lane:
    """Frames and buffers to and from one peer. Guarded by the node's lock; only `reserve` may block.

    Args:
        node: Of this process.
        pid: The peer.
        hear: Is called with each frame that comes, and its buffers if it is a message.
        hear_small: Likewise with a message that is all in its pickle, the number of its channel first;
            returns whether somebody waited for it.
    """

    def __init__(
        self,
        node: Node,
        pid: Pid,
        hear: Callable[[Any, Sequence[Any]], None],
        hear_small: Callable[[int, bytes], bool],
    ) -> None:
        self._node, self._pid = node, pid
        self._hear = hear
        self.link: mpi.Link | stream.Link | None = None
        self.announced = 0  # frames that the peer says it has sent by MPI
        self._ending = False  # our last frame is sent, or waits to be
        self.freed = False
        self._outbox: deque[Parcel] = deque()
        self._by_link = False  # our way out, if it is not `_writer`
        self._writer: ring.RingWriter | None = None
        # Frames that were put into a ring of which it is only likely that the peer sees it; else None.
        self._unsure: list[bytes] | None = None
        self._unheard = False  # the peer is to be rung for again: its bell was full
        # What came by the link and waits for its buffers.
        self._held: deque[tuple[Any, mpi.Parts | stream.Parts | None]] = deque()
        folder = node.shared_memory
        self._out = f"{folder}/{node.pid.value:x}-{pid.value:x}"
        self._into = f"{folder}/{pid.value:x}-{node.pid.value:x}"
        self.inward = Inward(self._into, node, pid, self._deliver, hear_small)
        self._payloads = Payloads(folder, node.shared_memory_bytes, self._out, self._into, self.post)

    @property
    def shut_out(self) -> bool:
        """True while the link cannot be used, because the linker is inside MPI."""
        return self._node.linking and self.link is not None and not (self.link.waitable or self.freed)

    @property
    def descriptor(self) -> int:
        """What poll is to watch for the sake of the link; -1: nothing, as MPI has nothing to be watched."""
        link = self.link
        return -1 if link is None or self.freed or not link.waitable else link.fileno()

    @property
    def events(self) -> int:
        """For what poll is to watch it."""
        return select.POLLIN | select.POLLOUT if self.link is not None and self.link.busy else select.POLLIN

    # -- out -----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if no frame waits to be sent."""
        return not self._outbox and self._unsure is None

    @property
    def halfway(self) -> bool:
        """True if something has been sent or received in part by the link."""
        return self.link is not None and (self.link.busy or bool(self._held))

    @property
    def put_in(self) -> int:
        """How much was ever sent: bytes through the ring, or frames by MPI."""
        return (self._writer.position if self._writer else 0) + (self.link.sent if self.link else 0)

    @property
    def taken_out(self) -> int:
        """How much of what the peer has put in was ever received."""
        return self.inward.position + (self.link.received if self.link else 0)

    @property
    def chosen(self) -> bool:
        """True if there is a way out."""
        return self._writer is not None or self._by_link or self.link is not None

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
            buffers: What follows it.
            done: Is called when the buffers are free again.
            wake: If False the peer need not look at it before it has a reason of its own.
        """
        if not self._ending:
            self._outbox.append(Parcel(encode_bare(frame), buffers, done))
            self.flush(wake=wake)

    def post_last(self, frame: Any) -> None:
        """Send the last frame. What followed it, if only the answer to an offer, would stay unread in
        MPI (see `Peer.progress`)."""
        self.post(frame)
        self._ending = True

    def post_small(self, number: int, body: bytes, wake: bool = True) -> None:
        """Send a message that is all in its pickle: the way of most, and the shortest.

        Args:
            number: Of its channel.
            body: The pickle.
            wake: If False the caller will let go of the lock, and then call `wake`.
        """
        writer = self._writer
        if (
            writer is not None
            and self._unsure is None
            and not self._outbox
            and not self._ending
            and len(body) <= writer.longest
            and writer.put(number, body)
        ):
            if wake and writer.must_wake():
                self._ring_bell()
        else:
            self.post(link_frames.Data(number, [], [], body))

    def wake(self) -> None:
        """Ring for the peer if it sleeps. Without the lock, just behind it: to let go of it is the fence
        that the ring needs, and the other fence costs as much as reading and writing a message."""
        writer = self._writer
        if writer is not None and writer.reader_sleeps:
            with self._node.lock:
                if writer.must_wake():
                    self._ring_bell()

    def hush(self) -> None:
        """The peer has ended, or reads no more: what waits will not be sent."""
        self._ending, self._unsure = True, None
        self._outbox.clear()

    def learn(self) -> None:
        """The root has said something of the memory that the peer sees."""
        shared = self._node.shares_memory(self._pid)
        if self._unsure is not None and shared is not None:
            sent, self._unsure = self._unsure, None
            if not shared:  # all again, the other way
                self._outbox.extendleft(Parcel(head, (), None) for head in reversed(sent))
                self._writer, self._unheard = None, False
                ring.unlink_rings(self._out)
        self.flush()

    def flush(self, *, wake: bool = True) -> None:
        """Send what waits, as far as it can be sent now."""
        if self.freed or not self._outbox:
            return
        self._choose()
        if self._writer is not None:
            self._flush_to_ring(self._writer, wake)
        elif self.link is not None and not self.shut_out:
            self._flush_to_link(self.link)

    def _choose(self) -> None:
        """Choose the way out, unless that was done or cannot be yet."""
        if self._writer is not None or self._by_link:
            return
        self._node.watch(self._pid)
        if self._node.shared_memory and ring.usable():
            shared = self._node.shares_memory(self._pid)
            if shared is None and not self._node.likely_shares_memory(self._pid):
                return  # the root will tell
            if shared is not False:
                try:
                    self._writer = ring.RingWriter(self._out)
                    self._unheard, self._unsure = True, [] if shared is None else None
                    return
                except OSError:
                    pass  # no room for it
        self._by_link = True
        if self.link is None:
            self._node.tell_root(frames.Link(self._pid.value))

    def _flush_to_ring(self, writer: ring.RingWriter, wake: bool) -> None:
        waited = len(self._outbox)
        while self._outbox and self._may_put(self._outbox[0], writer) and self._outbox[0].put(writer):
            parcel = self._outbox.popleft()
            if self._unsure is not None:
                self._unsure.append(parcel.head)
        full = bool(self._outbox) and self._unsure is None
        if self._unheard or ((full or (wake and len(self._outbox) < waited)) and writer.must_wake()):
            self._ring_bell()
        if full:
            self._node.nudge()

    def _may_put(self, parcel: Parcel, writer: ring.RingWriter) -> bool:
        """Buffers are the sender's, and cannot be sent again; so they, and what is long, wait until it is
        sure that they are seen."""
        return self._unsure is None or not (parcel.buffers or len(parcel.head) > writer.longest)

    def _flush_to_link(self, link: mpi.Link | stream.Link) -> None:
        try:
            while self._outbox:
                parcel = self._outbox[0]
                link.send(parcel.head)
                if parcel.buffers:
                    link.send_buffers(parcel.buffers, parcel.done)
                self._outbox.popleft()
        except mpi.LinkBroken:
            return  # the exit notice will come, and say why
        self._ring_bell()
        if link.busy:
            self._node.nudge()

    def _ring_bell(self) -> None:
        if self.link is not None and self.link.waitable:
            return  # what comes by it wakes the peer
        rung = self._node.bell.ring(self._pid.value, self.link.sent if self.link else 0)
        # Where a bell is full its owner is about to look: but not into a ring that it does not know, and
        # not until it sees what comes by MPI.
        self._unheard = not rung and (self._unheard or self._writer is None)
        if self._unheard:
            self._node.nudge()

    def reserve(self, sizes: list[int], *, patient: bool = False) -> list[Place | None]:
        """Places in shared memory for buffers of these sizes, None for those that must follow.

        Blocks: if `patient`, some microseconds for the place that was used last.
        """
        if patient:
            self._payloads.await_last(max(sizes))
        if not self._ending:
            self._choose()
        return self._payloads.reserve(
            sizes, may_offer=self._writer is not None and self._unsure is None and not self._ending
        )

    @property
    def busy(self) -> bool:
        """True if something is under way, here or in MPI, that only further calls bring to its end."""
        return bool(self._outbox) or (self.link is not None and self.link.busy)

    # -- in ------------------------------------------------------------------------------------

    @property
    def restless(self) -> bool:
        """True if looking again soon is worth it."""
        if self.freed:
            return False
        if self._unheard or self.inward.restless:
            return True
        if self._writer is not None and self._outbox and self._unsure is None:
            return True
        link = self.link
        if link is None or self.shut_out or self.descriptor >= 0:
            return False
        return bool(link.busy or link.received < self.announced or self._held or self._outbox)

    def rung(self, sent: int) -> None:
        """The peer rings; it has sent so many frames by MPI."""
        self.announced = max(self.announced, sent)
        self.inward.map()

    def progress(self) -> bool:
        """Move what can be moved; True if something was. Raises: LinkBroken."""
        if self.freed:
            return False
        if self._unheard:
            self._ring_bell()
        moved = self.inward.progress()
        if self.link is not None and not self.shut_out:
            moved |= self._progress_link(self.link)
        if self._outbox:
            waiting = len(self._outbox)
            self.flush()
            moved |= len(self._outbox) < waiting
        return moved

    def _progress_link(self, link: mpi.Link | stream.Link) -> bool:
        moved = link.progress_sends()
        while (head := link.receive()) is not None:
            moved = True
            frame = decode(head)
            sizes = following(frame)
            parts = link.expect(sizes) if sizes else None
            if parts is None and not self._held:
                self._deliver(frame, ())
            else:
                self._held.append((frame, parts))
        while self._held and (self._held[0][1] is None or self._held[0][1].ready()):
            frame, parts = self._held.popleft()
            moved = True
            self._deliver(frame, () if parts is None else parts.buffers)
        return moved

    def _deliver(self, frame: Any, buffers: Sequence[Any]) -> None:
        if isinstance(frame, link_frames.Offer):
            self._payloads.map(frame)
        elif isinstance(frame, link_frames.Answer):
            self._payloads.answered(frame)
        else:
            if isinstance(frame, link_frames.Data) and frame.places:
                buffers = self._payloads.gather(frame, buffers)
            self._hear(frame, buffers)

    # -- the end -------------------------------------------------------------------------------

    def free(self, *, peer_ended: bool = False) -> None:
        """Let go of the link and the memory. What was received stays where it is.

        A peer that lives on may still read what it has not; where it has ended, nobody will.
        """
        if not self.freed and self.link is not None:
            self.link.free()
        self.freed = True
        if peer_ended and self._node.shared_memory:
            self._payloads.unlink()
            if self._writer is not None:
                ring.unlink_rings(self._out)
            if self.inward.reader is not None:
                ring.unlink_rings(self._into)
        self._writer = None
        self.inward.free()
        self._payloads.free()
