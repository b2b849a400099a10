"""Framed control connections over Unix sockets.

The sockets are in the job's folder, which only its owner may enter; the secret protects them in addition.
`_socket` is used directly, because importing `socket` would cost every monitor another 5 ms at its start.
"""

from __future__ import annotations

import _socket

from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime import environment as names
from cmpi._transport import clock, job_secret
from cmpi._transport.proof import HANDSHAKE_S, prove
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cmpi._core.protocol.authentication import Key
    from cmpi._core.protocol.wire import Registry

RECEIVE_BYTES = 1 << 20


class ControlSocket:
    """A connection that carries frames in both directions. Reads and writes never block.

    Only one thread may use it at a time. Data that cannot be written yet are queued; `backlog` tells how
    much. The backlog is bounded: credit between monitor and root bounds the output, and all else is small.

    Args:
        sock: The connection.
        expected: The frames that the peer may send.
    """

    def __init__(self, sock: _socket.socket, expected: Registry) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.closed = False
        self._deaf = False  # the peer no longer reads, but its earlier frames can still be received
        self.expected, self._decoder = expected, Decoder(expected)
        self._unsent: list[bytes] = []
        self._fds: list[int] | None = None  # descriptors that have come; None: not accepted

    def take_descriptors(self) -> None:
        """From now on accept descriptors that come with frames; `descriptors` returns them."""
        self._fds = []

    def descriptors(self) -> list[int]:
        """Return the descriptors that have come, which the caller then owns; accept no more."""
        fds, self._fds = self._fds or [], None
        return fds

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self.sock.fileno()

    @property
    def backlog(self) -> int:
        """The number of bytes that wait to be written."""
        return sum(map(len, self._unsent))

    def send(self, frame: Any) -> None:
        """Write a frame, or queue it until `flush` can write it. Does nothing if the peer has gone."""
        if self._deaf:
            return
        self._unsent.append(encode(frame))
        if len(self._unsent) == 1:
            self.flush()

    def flush(self) -> bool:
        """Write queued data; True if none is left."""
        try:
            while self._unsent and not self.closed:
                data = self._unsent[0]
                sent = self.sock.send(data)
                if sent == len(data):
                    self._unsent.pop(0)
                else:
                    self._unsent[0] = data[sent:]
        except BlockingIOError:
            return False
        except OSError:
            self._deaf = True
        if self.closed or self._deaf:
            self._unsent.clear()
        return True

    def receive(self) -> list[Any]:
        """Return the frames that have arrived; sets `closed` if no more will follow.

        Raises:
            ProtocolError: The peer violates the protocol; the stream is closed.
        """
        try:
            if self._fds is None:
                data = self.sock.recv(RECEIVE_BYTES)
            else:
                data, fds = receive_fds(self.sock)
                self._fds += fds
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return []
        try:
            return list(self._decoder.feed(data))
        except ProtocolError:
            self.closed = True
            raise

    def close(self) -> None:
        """Close at once; queued data are lost."""
        self.closed = True
        for fd in self.descriptors():
            _socket.close(fd)
        self.sock.close()


def connect(path: str, key: Key, expected: Registry) -> ControlSocket:
    """Connect to a door, whose owner may send the `expected` frames; both ends prove that they know the
    key.

    Raises:
        OSError: Nothing listens there.
        ProtocolError: Something else listens there.

    Blocks: at most `HANDSHAKE_S` for each of three messages.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(HANDSHAKE_S)
        sock.connect(path)
        prove(sock, key)
    except BaseException:
        sock.close()
        raise
    return ControlSocket(sock, expected)


def connect_in(folder: str, name: str, expected: Registry) -> ControlSocket:
    """Connect to a socket of the job with this folder. Raises, blocks: as `connect`."""
    secret = job_secret.read(folder)
    try:
        return connect(f"{folder}/{name}", secret.key, expected)
    finally:
        secret.forget()


def to_root(environment: Mapping[str, str], expected: Registry) -> ControlSocket:
    """Connect to the root of the job that this environment belongs to. Raises, blocks: as `connect`."""
    return connect_in(environment[names.JOB], "root", expected)


def socket_pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected Unix stream sockets."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)


def send_with_fds(stream: ControlSocket, frame: Any, fds: list[int]) -> None:
    """Send a frame with copies of descriptors, as the first on a stream. Blocks: until it is written."""
    rights = b"".join(fd.to_bytes(4, "little") for fd in fds)
    stream.sock.settimeout(HANDSHAKE_S)
    data = encode(frame)
    sent = stream.sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    stream.sock.sendall(data[sent:])
    stream.sock.setblocking(False)


def receive_with_fds(stream: ControlSocket) -> tuple[Any, list[int]]:
    """Return the first frame of a stream and the descriptors that came with it.

    Raises:
        ProtocolError: The peer sent something else, or nothing within `HANDSHAKE_S`.
    """
    decoder, fds, end_s = Decoder(stream.expected), list[int](), clock.now_s() + HANDSHAKE_S
    while True:
        if not clock.wait_readable(stream.fileno(), end_s):
            raise ProtocolError(f"no first frame within {HANDSHAKE_S:g} s")
        try:
            data, more = receive_fds(stream.sock)
        except OSError as error:
            raise ProtocolError(f"no first frame: {error}") from None
        fds += more
        if not data:
            raise ProtocolError("no first frame: the connection was closed")
        for frame in decoder.feed(data):
            stream.sock.setblocking(False)
            return frame, fds


def receive_fds(sock: _socket.socket) -> tuple[bytes, list[int]]:
    """Receive bytes and the descriptors that came with them. Blocks: as the socket does."""
    data, ancillary, _, _ = sock.recvmsg(65536, _socket.CMSG_SPACE(4 * 8), _socket.MSG_CMSG_CLOEXEC)
    return data, fds_in(ancillary)


def fds_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors among the ancillary data of a message."""
    fds: list[int] = []
    for level, kind, raw in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw) - 3, 4)]
    return fds
