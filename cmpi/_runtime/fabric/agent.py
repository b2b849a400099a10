"""A fabric agent: carries connections between processes of its host and processes of other hosts.

A process that wants to reach one on another host connects to the agent's socket in the job's folder and
names the other (`process_fabric`). The agent there connects to the socket at which that process listens, as
a process of its own host would. The two then prove to each other that they know the key of their
connection, through everything in between.

One thread moves everything. It waits for nothing but the next event (see `Wakefulness`).
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from functools import partial

from cmpi._core.fabric import streams
from cmpi._core.protocol import helper_root, process_fabric
from cmpi._core.protocol.wire import Decoder
from cmpi._runtime.fabric.local_end import LocalEnd
from cmpi._transport import clock
from cmpi._transport.door import Door, listen
from cmpi._transport.socket_transport import link_path
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Protocol

    from cmpi._core.fabric.wakefulness import Wakefulness
    from cmpi._runtime.fabric.bell import Bell
    from cmpi._transport.control_socket import ControlSocket

    class Messages(Protocol):
        """Messages to and from one other agent (`mpi.MpiTransport`)."""

        sent: int
        received: int

        @property
        def busy(self) -> bool:
            """True if a transfer is in flight that needs further calls to complete."""

        @property
        def sending(self) -> int:
            """How many sends are in flight."""

        def send(self, message: bytes) -> None:
            """Send a message."""

        def receive(self) -> bytes | None:
            """Return the next message, if one has arrived."""

        def progress_sends(self) -> bool:
            """Progress the sends; True if any was completed."""


MOST_SENDING = 16  # messages in flight to one host
MOST_WAITING_BYTES = 1 << 20  # for one host, before its processes' sockets are read no further


class Link:
    """What leads to one other host.

    Args:
        host: Its name.
        messages: Carries messages to and from its agent.
        first: Whether this host's agent is the first of the two.
    """

    def __init__(self, host: str, messages: Messages, *, first: bool) -> None:
        self.host, self.messages = host, messages
        self.streams = streams.Streams(first=first)
        self.ends: dict[int, LocalEnd] = {}  # by stream

    @property
    def full(self) -> bool:
        """True if too much waits to be sent there."""
        return self.streams.waiting_bytes >= MOST_WAITING_BYTES


class FabricAgent:
    """Serves until the root closes its connection.

    Args:
        folder: The job's folder.
        path: Where to listen for processes of this host.
        links: What leads to the other hosts.
        root: The connection to the root.
        bell: By it agents wake each other.
        wakefulness: Decides when this one sleeps.
    """

    def __init__(
        self,
        folder: str,
        path: str,
        links: list[Link],
        root: ControlSocket,
        bell: Bell,
        wakefulness: Wakefulness,
    ) -> None:
        self._folder, self._path, self._root, self._bell = folder, path, root, bell
        self._links = {link.host: link for link in links}
        self._wakefulness = wakefulness
        self._door: Door | None = None
        self._poll = select.epoll()
        self._served: dict[int, Callable[[int], None]] = {}  # by descriptor
        self._watch(root.fileno(), select.EPOLLIN, self._hear_root)
        self._watch(bell.fileno(), select.EPOLLIN, self._hear_bell)

    def run(self) -> None:
        """Serve. Raises: TransportBroken: The agents' world has fallen."""
        while not self._root.closed:
            self.turn()

    def turn(self) -> None:
        """Move what can be moved, and wait for more, for a nap at most. Raises: TransportBroken."""
        moved = False
        for link in self._links.values():
            moved |= self._receive(link)
        now_s = time.monotonic()
        if moved:
            self._wakefulness.moved(now_s)
        pause_s = self._wakefulness.pause_s(now_s, under_way=self._under_way)
        if pause_s:
            select.select([self._poll], [], [], pause_s)  # epoll itself cannot sleep for less than 1 ms
        ready = self._poll.poll(0)
        for fd, events in ready:
            if fd in self._served:  # else closed in this turn
                self._served[fd](events)
        if self._door is not None and self._door.deadline_s is not None:
            self._admit(self._door)
        for link in self._links.values():
            self._send(link)
        if ready:
            self._wakefulness.moved(time.monotonic())

    def close(self) -> None:
        """Close everything: the connections that it has carried end."""
        for link in self._links.values():
            for end in link.ends.values():
                end.close()
        if self._door is not None:
            self._door.close()
        self._bell.close()
        self._root.close()
        self._poll.close()

    @property
    def _under_way(self) -> bool:
        """True if MPI needs further calls, or something waits for it."""
        return any(link.messages.busy or link.streams.waiting_bytes for link in self._links.values())

    def _watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        self._served[fd] = call
        self._poll.register(fd, events)

    # -- other hosts -------------------------------------------------------------------------

    def _receive(self, link: Link) -> bool:
        moved = link.messages.progress_sends()
        # Open MPI looks before it makes progress: what has come meanwhile it finds at the second look.
        while (message := link.messages.receive() or link.messages.receive()) is not None:
            moved = True
            for event in link.streams.arrived(message):
                self._on_event(link, event)
        if moved:
            self._wakefulness.received(link.host, link.messages.received)
        return moved

    def _on_event(self, link: Link, event: streams.Event) -> None:
        if isinstance(event, streams.Opened):
            self._add(link, event.stream, LocalEnd.connect(link_path(self._folder, event.pid)))
            return
        end = link.ends[event.stream]
        if isinstance(event, streams.BytesCame):
            link.streams.taken(event.stream, end.write(event.data))
        elif isinstance(event, streams.StreamEnded):
            end.finish()
        self._settle(link, event.stream, end)

    def _send(self, link: Link) -> None:
        was_full, moved = link.full, False
        while link.messages.sending < MOST_SENDING:
            message = link.streams.message()
            if message is None:
                break
            link.messages.send(message)
            moved = True
        if moved and self._wakefulness.sent(link.host, time.monotonic()):
            self._bell.ring(link.host, link.messages.sent)
        if was_full and not link.full:
            for stream, end in list(link.ends.items()):
                self._settle(link, stream, end)

    def _hear_bell(self, _: int) -> None:
        for host, messages in self._bell.rings():
            if host in self._links and messages > self._links[host].messages.received:
                self._wakefulness.rung(host, messages, time.monotonic())

    # -- the root ------------------------------------------------------------------------------

    def _hear_root(self, _: int) -> None:
        for frame in self._root.receive():
            if isinstance(frame, helper_root.GuardBy):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)  # of an agent that was killed
                self._door = Door(listen(self._path), frame.key)
                self._watch(self._door.fileno(), select.EPOLLIN, partial(self._admit, self._door))
                self._root.send(helper_root.Carries())
        self._root.flush()

    # -- this host -----------------------------------------------------------------------------

    def _admit(self, door: Door, _: int = 0) -> None:
        for sock in door.admit(clock.now_s()):
            sock.setblocking(False)
            decoder = Decoder(process_fabric.TO_FABRIC_AGENT)
            self._watch(sock.fileno(), select.EPOLLIN, partial(self._greet, sock, decoder))

    def _greet(self, sock: _socket.socket, decoder: Decoder, _: int) -> None:
        """Read where a process's connection is to be carried."""
        link = None
        try:
            data = sock.recv(streams.PIECE_BYTES)
            frame = next(decoder.feed(data), None)
            if data and frame is None:
                return
            link = None if frame is None else self._links.get(frame.host)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            pass
        self._poll.unregister(sock.fileno())
        del self._served[sock.fileno()]
        if link is None or frame is None:
            sock.close()
        else:
            self._add(link, link.streams.open(frame.pid), LocalEnd(sock))

    def _add(self, link: Link, stream: int, end: LocalEnd) -> None:
        link.ends[stream] = end
        self._settle(link, stream, end)

    def _serve(self, link: Link, stream: int, end: LocalEnd, events: int) -> None:
        if events & select.EPOLLOUT:
            link.streams.taken(stream, end.flush())
        if events & ~select.EPOLLOUT and not end.sent_all:
            data = end.read(min(streams.PIECE_BYTES, link.streams.room(stream)))
            if data:
                link.streams.read(stream, data)
        self._settle(link, stream, end)

    def _settle(self, link: Link, stream: int, end: LocalEnd) -> None:
        """After anything has changed: wait for exactly what can happen at this end now."""
        streams_ = link.streams
        if end.sent_all and stream in streams_:
            streams_.ended(stream)
        fd = end.fileno()
        if stream not in streams_ and end.over:
            if end.watched:
                self._poll.unregister(fd)
                del self._served[fd]
            del link.ends[stream]
            end.close()
            return
        reads = not end.sent_all and streams_.room(stream) > 0 and not link.full
        wanted = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if end.unwritten else 0)
        if wanted == end.watched:
            return
        if not end.watched:
            self._watch(fd, wanted, partial(self._serve, link, stream, end))
        elif wanted:
            self._poll.modify(fd, wanted)
        else:  # even without events, epoll would report a hang-up again and again
            self._poll.unregister(fd)
            del self._served[fd]
        end.watched = wanted
