"""A transport by a stream socket, used as `mpi.MpiTransport` is: TCP between two hosts, Unix on one.

A frame goes as its length, its tag and its bytes, the buffers that belong to it follow as they are. Unlike
an MPI transport it can be waited on: readiness to be read, or written while something waits, is all that
moves it. Both ends prove that they know the key that the root gave them for this one transport before
anything else is read (`door.py`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections import deque

from cmpi._core.protocol.wire import MAX_FRAME_BYTES
from cmpi._transport.buffer_pool import blank
from cmpi._transport.door import BACKLOG, Door
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.proof import prove
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any, Final

HANDSHAKE_S = 5.0
RECEIVE_BYTES = 1 << 18
WAKE_BYTES = 1 << 19  # of a buffer that is being received, before its reader is woken again
GATHER = 64  # pieces in one call; far below IOV_MAX
_HEAD = struct.Struct("<II")  # length and tag
FRAME: Final = 0xFFFFFFFF  # the tag of a frame; any other is its sender's


class SocketParts:
    """Buffers that are being received."""

    def __init__(self, sizes: list[int]) -> None:
        self.buffers = [blank(size) for size in sizes]
        self._missing = deque(memoryview(buffer).cast("B") for buffer in self.buffers if len(buffer))

    def ready(self) -> bool:
        """True if they are here as a whole."""
        return not self._missing

    def take(self, data: memoryview) -> int:
        """Take what belongs to them; how much that was."""
        taken = 0
        while self._missing and taken < len(data):
            room = self._missing[0]
            n = min(len(room), len(data) - taken)
            room[:n] = data[taken : taken + n]
            self.filled(n)
            taken += n
        return taken

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes belong."""
        return self._missing[0] if self._missing else None

    def filled(self, n: int) -> None:
        """So many bytes were put into `room`."""
        rest = self._missing.popleft()[n:]
        if rest:
            self._missing.appendleft(rest)


class SocketTransport:
    """Frames and buffers to and from one peer. Calls from one thread at a time; none blocks.

    What is sent when the peer reads no more is lost. Only `receive` says that the connection has ended,
    after all that the peer had sent before.
    """

    waitable = True

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = self.received = 0  # frames, ever
        self.tag = FRAME  # of the frame that was received last
        self._unsent: deque[tuple[memoryview, Callable[[], None] | None]] = deque()
        self._came = bytearray()  # behind the buffers that are being received
        self._parts: deque[SocketParts] = deque()
        self._scratch = bytearray(RECEIVE_BYTES)
        self._broken = False  # nothing can be received any more
        self._unread = False  # the peer reads no more
        self._low_water = 1

    def fileno(self) -> int:
        """The descriptor, for poll; -1 if there is nothing to wait for any more."""
        return -1 if self._broken else self._sock.fileno()

    @property
    def busy(self) -> bool:
        """True if something waits to be written."""
        return bool(self._unsent)

    def send(self, frame: bytes, tag: int = FRAME) -> None:
        """Send a frame."""
        if self._unread:
            return
        self._unsent.append((memoryview(_HEAD.pack(len(frame), tag) + frame), None))
        self.sent += 1
        if len(self._unsent) == 1:
            self.progress_sends()

    def send_buffers(self, buffers: Sequence[Any], done: Callable[[], None] | None) -> None:
        """As `mpi.MpiTransport.send_buffers`; `done` is not called for what is lost."""
        if self._unread:
            return
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        for i, view in enumerate(views, 1):
            self._unsent.append((view, done if i == len(views) else None))
        self.progress_sends()

    def progress_sends(self) -> bool:
        """Write what waits, as far as the connection takes it; True if something was."""
        moved = False
        try:
            while self._unsent:
                pieces = [view for view, _ in list(self._unsent)[:GATHER]]
                written = self._sock.sendmsg(pieces)
                moved = True
                self._written(written)
        except BlockingIOError:
            pass
        except OSError:  # what the peer sent before may still be there
            self._unread = True
            self._unsent.clear()
        return moved

    def _written(self, n: int) -> None:
        while self._unsent and n >= len(self._unsent[0][0]):
            view, done = self._unsent.popleft()
            n -= len(view)
            if done is not None:
                done()
        if n:
            view, done = self._unsent[0]
            self._unsent[0] = view[n:], done

    def receive(self) -> bytes | None:
        """The next frame, if one is here. Raises: TransportBroken: The connection has ended."""
        while True:
            while self._parts and self._parts[0].ready():
                self._parts.popleft()
            if not self._parts and len(self._came) >= _HEAD.size:
                length, self.tag = _HEAD.unpack_from(self._came)
                if length > MAX_FRAME_BYTES:
                    self._broken = True
                    raise TransportBroken(f"a frame of {length} bytes")
                if len(self._came) >= _HEAD.size + length:
                    head = bytes(self._came[_HEAD.size : _HEAD.size + length])
                    del self._came[: _HEAD.size + length]
                    self.received += 1
                    return head
            if not self._read():
                return None

    def _read(self) -> bool:
        """Read what has come, into its place; False if nothing has."""
        parts = self._parts[0] if self._parts else None
        room = None if parts is None else parts.room
        try:
            n = self._sock.recv_into(self._scratch if room is None else room)
        except BlockingIOError:
            self._sleep_until(1 if room is None else min(len(room), WAKE_BYTES))
            return False
        except OSError as error:
            self._broken = True
            raise TransportBroken(str(error)) from None
        if n == 0:
            self._broken = True
            raise TransportBroken("the connection was closed")
        if parts is None or room is None:
            self._came += memoryview(self._scratch)[:n]
        else:
            parts.filled(n)
        return True

    def _sleep_until(self, nbytes: int) -> None:
        """Have poll find it readable with so many bytes. A wake-up for each packet of a large buffer takes
        longer than to receive it. Source: Linux socket(7), SO_RCVLOWAT."""
        if nbytes != self._low_water:
            self._low_water = nbytes
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, nbytes)

    def expect(self, sizes: list[int]) -> SocketParts:
        """The buffers of so many bytes that follow the frame that was received last."""
        parts = SocketParts(sizes)
        with memoryview(self._came) as came:
            taken = parts.take(came)
        del self._came[:taken]
        self._parts.append(parts)
        return parts

    def free(self) -> None:
        """Close the connection; both have agreed before (Bye) that nothing is under way."""
        self._sock.close()


def listen(address: str, key: bytes) -> Door:
    """A door at a free port of this address, or at this path, for the one that knows the key.

    At all addresses, where others know this host by one that it does not have itself.

    Raises:
        OSError: It cannot.
    """
    where: Any = address
    family, kind, protocol = socket.AF_UNIX, socket.SOCK_STREAM, 0
    if not _is_path(address):
        passive = socket.AI_PASSIVE
        family, kind, protocol, _, where = socket.getaddrinfo(address or None, 0, type=kind, flags=passive)[
            0
        ]
    server = socket.socket(family, kind, protocol)
    try:
        server.bind(where)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRNOTAVAIL and address:
            return listen("", key)
        raise
    return Door(server, key)


def port_of(door: Door) -> int:
    """Where it listens; 0 at a path."""
    return 0 if door.server.family == socket.AF_UNIX else int(door.server.getsockname()[1])


def close(door: Door) -> None:
    """Listen no more."""
    path = door.server.getsockname() if door.server.family == socket.AF_UNIX else ""
    door.close()
    if path:
        with contextlib.suppress(OSError):  # the job's folder has gone
            os.unlink(path)


def accept(door: Door, timeout_s: float) -> SocketTransport | None:
    """The connection of one that knows the key; None if none has come. Blocks: at most `timeout_s`."""
    sock = door.wait(time.monotonic() + timeout_s)
    return None if sock is None else SocketTransport(sock)


def dial(address: str, port: int, key: bytes, timeout_s: float) -> SocketTransport | None:
    """A connection with the one that listens there and knows the key; None if there is none.

    Blocks: at most `timeout_s` for the connection, then `HANDSHAKE_S` for each message.
    """
    try:
        sock = _connection(address, port, timeout_s)
    except OSError:
        return None
    try:
        sock.settimeout(HANDSHAKE_S)
        prove(sock, key)
        return SocketTransport(sock)
    except (OSError, ProtocolError):
        sock.close()
        return None


def _connection(address: str, port: int, timeout_s: float) -> socket.socket:
    if not _is_path(address):
        return socket.create_connection((address, port), timeout_s)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_path(address: str) -> bool:
    return address.startswith("/")
