"""A transport over a stream socket, with the interface of `mpi.MpiTransport`: TCP between hosts, Unix on
one host.

A frame is sent as its length, its tag and its bytes; its buffers follow without lengths. Unlike an MPI
transport it has a descriptor: it can move whenever that is readable or, while data wait, writable. Both
ends prove that they know the key that the root gave them for this socket before anything else is read
(`door.py`). Then each tells how much it has received: nothing, or what it had before the last socket
dropped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import deque

from cmpi._core.channel.retransmission import Retransmission
from cmpi._core.protocol.process_fabric import CarryTo
from cmpi._core.protocol.wire import MAX_FRAME_BYTES, encode
from cmpi._transport import clock, proof
from cmpi._transport.buffer_pool import blank
from cmpi._transport.door import Door, listening
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.proof import prove, receive_exactly
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Final

    from cmpi._core.protocol.process_root_connections import DialThrough

HANDSHAKE_S = 5.0
DIRECT, CARRIED = "socket", "mpi"  # a socket to the peer; or to a fabric agent, which carries it by MPI
RECEIVE_BYTES = 1 << 18
WAKE_BYTES = 1 << 19  # bytes of a buffer to receive before its reader is woken again
GATHER = 64  # pieces in one call; far below IOV_MAX
_HEAD = struct.Struct("<II")  # length and tag
POSITION_BYTES = 8  # of a number of bytes
# Tags. Any other is the sender's own.
FRAME: Final = 0xFFFFFFFF
ACKNOWLEDGEMENT: Final = 0xFFFFFFFC  # of the stream in the other direction, up to a position


class SocketParts:
    """Buffers that are being received."""

    def __init__(self, sizes: list[int]) -> None:
        self.buffers = [blank(size) for size in sizes]
        self._missing = deque(memoryview(buffer).cast("B") for buffer in self.buffers if len(buffer))

    def ready(self) -> bool:
        """True if all of them have arrived completely."""
        return not self._missing

    def take(self, data: memoryview) -> int:
        """Take as much of the data as belongs to them; return how much that was."""
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
        """The memory for the next bytes."""
        return self._missing[0] if self._missing else None

    def filled(self, n: int) -> None:
        """Note that `n` bytes were put into `room`."""
        rest = self._missing.popleft()[n:]
        if rest:
            self._missing.appendleft(rest)


class SocketTransport:
    """Carries frames and buffers to and from one peer. For one thread at a time; no call blocks.

    Its socket may drop: `receive` reports that, after everything that had arrived, and `fileno` is -1 until
    `suspend` and `resume` replace the socket. Nothing is lost, and nothing arrives twice (see
    `retransmission`).
    """

    waitable = True
    way = DIRECT

    def __init__(self, sock: _socket.socket | None = None) -> None:
        self._sock: _socket.socket | None = None
        self.sent = self.received = 0  # numbers of frames
        self.tag = FRAME  # of the frame received last
        self._stream = Retransmission()
        self._came = bytearray()  # data after the buffers that are being received
        self._parts: deque[SocketParts] = deque()
        self._scratch = bytearray(RECEIVE_BYTES)
        self._ended = False  # nothing more can be received from this socket
        self._unread = False  # the peer no longer reads from this socket
        self._spoiled = False  # something came that is no frame
        self._low_water = 1
        if sock is not None:
            self.resume(sock, 0)

    def fileno(self) -> int:
        """The descriptor, for poll; -1 while there is no socket."""
        return -1 if self._sock is None or self._ended else self._sock.fileno()

    @property
    def busy(self) -> bool:
        """True if data wait to be written."""
        return self._stream.waiting

    @property
    def under_way(self) -> bool:
        """True if something may not have arrived."""
        return self._stream.waiting or self._stream.lending or self.fileno() < 0

    # -- the socket ------------------------------------------------------------------------

    def suspend(self) -> int:
        """Close the socket, if there is one; return the position up to which the peer's stream has been
        received, for `resume` at the other end."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        return self._stream.tell()

    def resume(self, sock: _socket.socket, position: int, way: str = DIRECT) -> None:
        """Go on by this socket, after `suspend`; the peer has received everything before this position.

        Raises:
            ProtocolError: It is not the peer's socket.
        """
        if self._spoiled:
            raise ProtocolError("the peer has sent something that is no frame")
        self._stream.resume(position)
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock, self._low_water, self.way = sock, 1, way
        self._ended = self._unread = False
        self.progress_sends()

    def free(self) -> None:
        """Close the socket: both ends have agreed (with Bye) that nothing more will be sent. `resume` is
        still possible if the peer has not received everything."""
        self.suspend()

    # -- out -------------------------------------------------------------------------------

    def send(self, frame: bytes, tag: int = FRAME) -> None:
        """Send a frame."""
        self._put(frame, tag)
        self.sent += 1

    def _put(self, frame: bytes, tag: int) -> None:
        data = _HEAD.pack(len(frame), tag) + frame
        sock, written = self._sock, 0
        if sock is not None and not (self._unread or self._stream.waiting):
            try:
                written = sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._unread = True  # as in `progress_sends`
        self._stream.add(data, written)

    def send_buffers(self, buffers: Sequence[Any], done: Callable[[], None] | None) -> None:
        """As `mpi.MpiTransport.send_buffers`."""
        self._stream.lend([memoryview(buffer).cast("B") for buffer in buffers], done)
        self.progress_sends()

    def progress_sends(self) -> bool:
        """Write waiting data, as much as the connection takes; True if anything was written."""
        stream, sock, moved = self._stream, self._sock, False
        if sock is None or self._unread:
            return False
        try:
            while stream.waiting:
                written = sock.sendmsg(stream.pieces(GATHER))
                moved = True
                stream.wrote(written)
        except BlockingIOError:
            pass
        except OSError:  # data that the peer sent earlier may still be there
            self._unread = True
        return moved

    # -- in --------------------------------------------------------------------------------

    def receive(self) -> bytes | None:
        """Return the next frame, if one has arrived. Raises: TransportBroken: The socket has dropped."""
        while True:
            while self._parts and self._parts[0].ready():
                self._parts.popleft()
            if not self._parts and len(self._came) >= _HEAD.size:
                length, self.tag = _HEAD.unpack_from(self._came)
                if length > MAX_FRAME_BYTES:
                    self._spoiled = self._ended = True
                    raise TransportBroken(f"a frame of {length} bytes")
                if len(self._came) >= _HEAD.size + length:
                    head = bytes(self._came[_HEAD.size : _HEAD.size + length])
                    del self._came[: _HEAD.size + length]
                    if self.tag == ACKNOWLEDGEMENT:
                        self._stream.acknowledge(int.from_bytes(head, "little"))
                        continue
                    self.received += 1
                    return head
            if not self._read():
                return None

    def _read(self) -> bool:
        """Read what has arrived into its place; False if nothing has."""
        sock = self._sock
        if sock is None or self._ended:
            return False
        parts = self._parts[0] if self._parts else None
        room = None if parts is None else parts.room
        try:
            n = sock.recv_into(self._scratch if room is None else room)
        except BlockingIOError:
            self._sleep_until(sock, 1 if room is None else min(len(room), WAKE_BYTES))
            return False
        except OSError as error:
            self._ended = True
            raise TransportBroken(str(error)) from None
        if n == 0:
            self._ended = True
            raise TransportBroken("the connection was closed")
        whole = True
        if parts is None or room is None:
            self._came += memoryview(self._scratch)[:n]
        else:
            whole = n == len(room)
            parts.filled(n)
        if self._stream.took(n, whole=whole):
            self._put(self._stream.tell().to_bytes(POSITION_BYTES, "little"), ACKNOWLEDGEMENT)
        return True

    def _sleep_until(self, sock: _socket.socket, nbytes: int) -> None:
        """Have poll report the socket as readable only with this many bytes. Waking up for each packet of a
        large buffer takes longer than receiving it. Source: Linux socket(7), SO_RCVLOWAT."""
        if nbytes != self._low_water:
            self._low_water = nbytes
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, nbytes)

    def expect(self, sizes: list[int]) -> SocketParts:
        """Prepare to receive buffers of these sizes, which follow the frame received last."""
        parts = SocketParts(sizes)
        with memoryview(self._came) as came:
            taken = parts.take(came)
        del self._came[:taken]
        self._parts.append(parts)
        return parts


def exchange(sock: _socket.socket, position: int) -> int:
    """Tell the peer how much of its stream this end has received (as `suspend` returns it); return how much
    the peer has received. Blocks: `HANDSHAKE_S` at most. Raises: OSError, ProtocolError."""
    sock.settimeout(HANDSHAKE_S)
    sock.sendall(position.to_bytes(POSITION_BYTES, "little"))
    return int.from_bytes(receive_exactly(sock, POSITION_BYTES), "little")


def listen(address: str, key: bytes) -> Door:
    """Open a door for the one peer that knows the key; as `server`. Raises: OSError."""
    return Door(server(address), key)


def server(address: str) -> _socket.socket:
    """A socket that listens at a free port of this address, or at this path.

    If there are several addresses, separated by blanks, or this host does not have the address itself
    (behind NAT), the port is one of all its addresses.

    Raises:
        OSError: It cannot listen there.
    """
    if _is_path(address):
        return listening(socket.AF_UNIX, address)
    if " " in address:
        address = ""
    found = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    try:
        return listening(found[0], found[4])
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and address:
            return server("")
        raise


def port_of(door: Door) -> int:
    """The port of a door; 0 if it is at a path."""
    return port(door.server)


def port(server: _socket.socket) -> int:
    """The port at which a socket listens; 0 if it is at a path."""
    return 0 if server.family == socket.AF_UNIX else int(server.getsockname()[1])


def close(door: Door) -> None:
    """Stop listening."""
    path = door.server.getsockname() if door.server.family == socket.AF_UNIX else ""
    door.close()
    if path:
        with contextlib.suppress(OSError):  # the job's folder has been removed
            os.unlink(path)


def accept(door: Door, timeout_s: float) -> _socket.socket | None:
    """Wait for the peer that knows the key; return the socket, None if it has not come. Blocks: at most
    `timeout_s`."""
    return door.wait(clock.now_s() + timeout_s)


def dial(address: str, port: int, key: bytes, timeout_s: float) -> _socket.socket | None:
    """Connect to the peer that listens there and knows the key; None if there is none.

    Of several addresses, separated by blanks, the first is tried last, because it has failed before.

    Blocks: at most `timeout_s` for the connection, then `HANDSHAKE_S` for each message.
    """
    for sock in connections(address, port, timeout_s):
        try:
            sock.settimeout(HANDSHAKE_S)
            prove(sock, key)
            return sock
        except (OSError, ProtocolError):
            sock.close()
    return None


def dial_through(order: DialThrough, timeout_s: float) -> _socket.socket | None:
    """Connect to a peer on another host through the fabric agents; None if there is no way. Blocks: as
    `dial`."""
    try:
        sock = _connection(order.path, 0, timeout_s)
    except OSError:
        return None
    try:
        sock.settimeout(HANDSHAKE_S)
        prove(sock, order.agent_key)
        sock.sendall(encode(CarryTo(order.host, order.peer)))
        prove(sock, order.key)
        return sock
    except (OSError, ProtocolError):
        sock.close()
        return None


def link_path(folder: str, pid: int) -> str:
    """Where a process listens for another on its host, or for the fabric agent there."""
    return f"{folder}/{pid:07x}.link"


def connections(address: str, port: int, timeout_s: float) -> Iterator[socket.socket]:
    """The connections that can be made with an address, as for `dial`, one after another. Blocks: as
    `dial`."""
    first, *others = address.split() if " " in address and not _is_path(address) else [address]
    for each in (*others, first):
        try:
            yield _connection(each, port, timeout_s / (1 + len(others)))
        except OSError:
            continue


def _connection(address: str, port: int, timeout_s: float) -> socket.socket:
    if not _is_path(address):
        return socket.create_connection((address, port), timeout_s)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        proof.connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_path(address: str) -> bool:
    return address.startswith("/")
