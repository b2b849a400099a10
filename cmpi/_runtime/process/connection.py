"""Carries frames to and from one peer: through shared memory on one host, otherwise by a transport.

Each side chooses its outgoing path with its first frame, and keeps to it. It is a ring in the job's shared
memory folder, which the peer maps when its doorbell rings or when it joins. If there is no such folder, or
no room in it, the path is a transport that the root arranges: MPI within a world, otherwise a socket.
Frames may therefore arrive on either path. A buffer that finds no place in a segment (see
`shared_payloads`) follows its frame on the same path.

A ring never needs both sides at the same time: what is in it can be read after its writer has ended, and at
no moment can the death of one side harm the other.
"""

from __future__ import annotations

from collections import deque

from cmpi._core.protocol import process_process
from cmpi._core.protocol.process_root_connections import Connect
from cmpi._core.protocol.wire import encode_bare
from cmpi._runtime.process.fragments import OutgoingFrame
from cmpi._runtime.process.replaceable_socket import ReplaceableSocket
from cmpi._runtime.process.ring_inbox import RingInbox
from cmpi._runtime.process.shared_payloads import SharedPayloads
from cmpi._runtime.process.transport_reader import TransportReader
from cmpi._transport import mpi, ring, socket_transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    from cmpi._runtime.process.connection_host import ConnectionHost
    from cmpi._runtime.process.socket_inbox import SocketInbox
    from cmpi._transport.segment import Block
    from cmpi.identifiers import Pid

SMALL_BYTES: Final = 1 << 16  # of a message that a socket carries without a frame of its own


class Connection:
    """Frames and buffers to and from one peer. Guarded by the node's lock; only `reserve` may block.

    Args:
        host: This process.
        pid: The peer.
        on_frame: Called with each frame that arrives, and its buffers if it is a message.
        on_small: Called with each message that is a single pickle, after the number of its channel;
            returns whether somebody waited for it.
    """

    def __init__(
        self,
        host: ConnectionHost,
        pid: Pid,
        on_frame: Callable[[Any, Sequence[Any]], None],
        on_small: Callable[[int, bytes], bool],
    ) -> None:
        self._host, self._pid = host, pid
        self._on_frame, self._on_small = on_frame, on_small
        self.transport: mpi.MpiTransport | socket_transport.SocketTransport | None = None
        self.announced = 0  # frames that the peer reports as sent by MPI
        self._ending = False  # the last frame is sent, or is in the outbox
        self.freed = False
        self._outbox: deque[OutgoingFrame] = deque()
        self._by_transport = False  # the outgoing path is the transport, not `_writer`
        self._writer: ring.RingWriter | None = None
        # Frames put into a ring that the peer probably sees, but not certainly; None once that is known.
        self._unsure: list[bytes] | None = None
        self._unheard = False  # the peer's bell was full: ring again
        self._reader = TransportReader(self._deliver, on_small)
        folder = host.shared_memory
        self._out = f"{folder}/{host.pid.value:x}-{pid.value:x}"
        self._into = f"{folder}/{pid.value:x}-{host.pid.value:x}"
        self.ring_inbox = RingInbox(self._into, host, pid, self._deliver, on_small)
        self.socket = ReplaceableSocket(host, self._reader)
        self.socket_inbox = self.socket.inbox
        self._payloads = SharedPayloads(folder, host.shared_memory_bytes, self._out, self._into, self.post)

    @property
    def shut_out(self) -> bool:
        """True while the transport cannot be used, because the connector is inside MPI."""
        transport = self.transport
        return self._host.connecting and transport is not None and not (transport.waitable or self.freed)

    @property
    def way(self) -> str:
        """The way to the peer, or else from it: "ring", "mpi" or "socket"; "" before one is chosen."""
        if self._writer is not None or (self.transport is None and self.ring_inbox.reader is not None):
            return "ring"
        return "" if self.transport is None else self.transport.way

    def resume(self, sock: _socket.socket, position: int, way: str) -> None:
        """Begin or continue by this socket; the peer has received everything before this position. The
        connection may have been freed before the peer had all of it. Raises: ProtocolError: It is not the
        peer's."""
        self.transport, self.freed = self.socket.resume(sock, position, way), False
        self.flush()

    # -- out -----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if no frame waits to be sent."""
        return not self._outbox and self._unsure is None

    @property
    def halfway(self) -> bool:
        """True if the transport has sent or received something in part, or its socket has dropped."""
        return self.transport is not None and (self.transport.under_way or self._reader.waiting)

    @property
    def put_in(self) -> int:
        """How much was sent in total: bytes through the ring, and frames by the transport."""
        by_ring = self._writer.position if self._writer else 0
        return by_ring + (self.transport.sent if self.transport else 0)

    @property
    def taken_out(self) -> int:
        """How much was received in total, counted as the peer counts it in `put_in`."""
        return self.ring_inbox.position + (self.transport.received if self.transport else 0)

    @property
    def chosen(self) -> bool:
        """True if the outgoing path is chosen."""
        return self._writer is not None or self._by_transport or self.transport is not None

    def post(
        self,
        frame: Any,
        buffers: Sequence[Any] = (),
        done: Callable[[], None] | None = None,
        *,
        wake: bool = True,
    ) -> None:
        """Send a frame, now or as soon as possible; frames after the last one are dropped.

        Args:
            frame: The frame to send.
            buffers: The buffers that follow it.
            done: Called when the buffers are free again.
            wake: If False, the peer is not woken for it.
        """
        if not self._ending:
            self._outbox.append(OutgoingFrame(encode_bare(frame), buffers, done))
            self.flush(wake=wake)

    def post_last(self, frame: Any) -> None:
        """Send the last frame. Frames after it, even an answer to an offer, would stay unread in MPI (see
        `Peer.progress`)."""
        self.post(frame)
        self._ending = True

    def post_small(self, number: int, body: bytes, wake: bool = True) -> None:
        """Send a message that is a single pickle: the shortest path, taken by most messages.

        Args:
            number: The number of its channel.
            body: The pickle.
            wake: If False, the caller will release the lock and then call `wake`.
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
        elif not self._post_small_by_socket(number, body):
            self.post(process_process.Data(number, [], [], body))

    def _post_small_by_socket(self, number: int, body: bytes) -> bool:
        """Send the message by the socket without a frame of its own; False if it must wait, or take another
        path."""
        transport = self.transport
        if (
            not isinstance(transport, socket_transport.SocketTransport)
            or not self._by_transport
            or self._outbox
            or self._ending
            or self.freed
            or len(body) > SMALL_BYTES
        ):
            return False
        transport.send(body, number)
        if transport.busy:
            self._host.nudge()
        return True

    def wake(self) -> None:
        """Ring for the peer if it sleeps. Call this right after releasing the lock: the release is the
        memory fence that the ring needs, and a separate fence would cost as much as writing and reading a
        message."""
        writer = self._writer
        if writer is not None and writer.reader_sleeps:
            with self._host.lock:
                if writer.must_wake():
                    self._ring_bell()

    def hush(self) -> None:
        """The peer has ended, or reads no more: drop what waits to be sent."""
        self._ending, self._unsure = True, None
        self._outbox.clear()

    def learn(self) -> None:
        """The root has told whether the peer sees our shared memory."""
        shared = self._host.shares_memory(self._pid)
        if self._unsure is not None and shared is not None:
            sent, self._unsure = self._unsure, None
            if not shared:  # send everything again by the transport
                self._outbox.extendleft(OutgoingFrame(head, (), None) for head in reversed(sent))
                self._drop_writer(unlink=True)
                self._unheard = False
        self.flush()

    def flush(self, *, wake: bool = True) -> None:
        """Send what waits, as far as possible."""
        if self.freed or not self._outbox:
            return
        self._choose()
        if self._writer is not None:
            self._flush_to_ring(self._writer, wake)
        elif self.transport is not None and not self.shut_out:
            self._flush_to_transport(self.transport)

    def _choose(self) -> None:
        """Choose the outgoing path, unless it is chosen or cannot be chosen yet."""
        if self._writer is not None or self._by_transport:
            return
        self._host.watch(self._pid)
        if self._host.shared_memory and ring.usable():
            shared = self._host.shares_memory(self._pid)
            if shared is None and not self._host.likely_shares_memory(self._pid):
                return  # the root will tell later
            if shared is not False:
                try:
                    self._writer = ring.RingWriter(self._out)
                    self._unheard, self._unsure = True, [] if shared is None else None
                    return
                except OSError:
                    pass  # there is no room for it
        self._by_transport = True
        if self.transport is None:
            self._host.tell_root(Connect(self._pid.value))

    def _flush_to_ring(self, writer: ring.RingWriter, wake: bool) -> None:
        waited = len(self._outbox)
        while self._outbox and self._may_put(self._outbox[0], writer) and self._outbox[0].put(writer):
            outgoing = self._outbox.popleft()
            if self._unsure is not None:
                self._unsure.append(outgoing.head)
        full = bool(self._outbox) and self._unsure is None
        if self._unheard or ((full or (wake and len(self._outbox) < waited)) and writer.must_wake()):
            self._ring_bell()
        if full:
            self._host.nudge()

    def _may_put(self, outgoing: OutgoingFrame, writer: ring.RingWriter) -> bool:
        """Whether this frame may be put into the ring. Frames with buffers, which are the caller's and
        cannot be sent again, and long frames wait until it is certain that the peer sees the ring."""
        return self._unsure is None or not (outgoing.buffers or len(outgoing.head) > writer.longest)

    def _flush_to_transport(self, transport: mpi.MpiTransport | socket_transport.SocketTransport) -> None:
        try:
            while self._outbox:
                outgoing = self._outbox[0]
                transport.send(outgoing.head)
                if outgoing.buffers:
                    transport.send_buffers(outgoing.buffers, outgoing.done)
                self._outbox.popleft()
        except mpi.TransportBroken:
            return  # the exit notice will say why
        self._ring_bell()
        if transport.busy:
            self._host.nudge()

    def _ring_bell(self) -> None:
        if self.transport is not None and self.transport.waitable:
            return  # its arrival wakes the peer
        rung = self._host.doorbell.ring(self._pid.value, self.transport.sent if self.transport else 0)
        # The owner of a full bell is about to look. But it does not look into a ring that it does not know,
        # and may miss what comes by MPI.
        self._unheard = not rung and (self._unheard or self._writer is None)
        if self._unheard:
            self._host.nudge()

    def reserve(self, sizes: list[int], *, patient: bool = False) -> list[Block | None]:
        """Reserve places in shared memory for buffers of these sizes; None for those that must follow the
        frame.

        Blocks: if `patient`, some microseconds until the place used last is free.
        """
        if patient:
            self._payloads.await_last(max(sizes))
        if not self._ending:
            self._choose()
        may_offer = self._writer is not None and self._unsure is None and not self._ending
        return self._payloads.reserve(sizes, may_offer=may_offer)

    @property
    def busy(self) -> bool:
        """True if something is in progress, here or in MPI, that needs further calls."""
        return bool(self._outbox) or (self.transport is not None and self.transport.busy)

    # -- in ------------------------------------------------------------------------------------

    @property
    def inbox(self) -> RingInbox | SocketInbox:
        """The inbox that a thread that waits for this peer polls."""
        by_ring = self.ring_inbox.reader is not None or not self.socket_inbox.usable
        return self.ring_inbox if by_ring else self.socket_inbox

    def rest(self) -> None:
        """A thread will sleep without looking at the inbox: have input wake it."""
        self.ring_inbox.rest()
        self.socket_inbox.rest()

    @property
    def watched(self) -> bool:
        """True if the progress thread must look every millisecond."""
        return self.ring_inbox.watched or self.socket_inbox.watched

    @property
    def restless(self) -> bool:
        """True if it is worth looking again soon."""
        if self.freed:
            return False
        if self._unheard or self.ring_inbox.restless:
            return True
        if self._writer is not None and self._outbox and self._unsure is None:
            return True
        transport = self.transport
        if transport is None or self.shut_out or transport.waitable:
            return False
        under_way = transport.busy or transport.received < self.announced or self._reader.waiting
        return bool(under_way or self._outbox)

    def rung(self, sent: int) -> None:
        """The peer has rung; it has sent this many frames by MPI."""
        self.announced = max(self.announced, sent)
        self.ring_inbox.map()

    def progress(self) -> bool:
        """Move frames in both directions; True if any moved. Raises: TransportBroken: MPI reports that the
        peer is gone."""
        if self.freed:
            return False
        if self._unheard:
            self._ring_bell()
        moved = self.ring_inbox.progress()
        if self.transport is not None and not self.shut_out:
            if self.transport.waitable:
                moved |= self.socket_inbox.progress()
            else:
                moved |= self.transport.progress_sends()
                moved = self._reader.read(self.transport) or moved
        if self._outbox:
            waiting = len(self._outbox)
            self.flush()
            moved |= len(self._outbox) < waiting
        return moved

    def _deliver(self, frame: Any, buffers: Sequence[Any]) -> None:
        if isinstance(frame, process_process.Offer):
            self._payloads.map(frame)
        elif isinstance(frame, process_process.OfferAnswer):
            self._payloads.answered(frame)
        else:
            if isinstance(frame, process_process.Data) and frame.places:
                buffers = self._payloads.gather(frame, buffers)
            self._on_frame(frame, buffers)

    # -- the end -------------------------------------------------------------------------------

    def _drop_writer(self, *, unlink: bool) -> None:
        """Drop our ring.

        `wake` reads the attribute without the lock. In compiled code, an assignment drops the old object
        before the attribute has its new value, and unmapping lets other threads run, so `wake` could get an
        object that is being deallocated. The attribute is therefore cleared before the last reference,
        `writer`, goes.
        """
        writer = self._writer
        self._writer = None
        if writer is not None and unlink:
            ring.unlink_rings(self._out)

    def free(self, *, peer_ended: bool = False) -> None:
        """Release the transport and the shared memory. Messages that were received stay valid.

        A living peer may still read what was sent; if the peer has ended, the files are removed too.
        """
        self.socket_inbox.free()
        if not self.freed and self.transport is not None:
            self.transport.free()
        self.freed = True
        unlink = peer_ended and self._host.shared_memory != ""
        if unlink:
            self._payloads.unlink()
            if self.ring_inbox.reader is not None:
                ring.unlink_rings(self._into)
        self._drop_writer(unlink=unlink)
        self.ring_inbox.free()
        self._payloads.free()
