"""Framed control connections over Unix sockets.

The sockets lie in the job's folder, which only its owner may enter; the secret guards them all
the same. Uses `_socket` directly: `socket` would cost every monitor another 5 ms at its start.
"""

from __future__ import annotations

import _socket
import os

from cmpi._core.protocol import authentication
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime import environment as names
from cmpi.errors import LaunchError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

HANDSHAKE_S = 10.0  # a stranger may hold an unproved connection that long
RECEIVE_BYTES = 1 << 20


class ControlSocket:
    """A connection that carries frames both ways. Reads and writes never block.

    One thread at a time. What cannot be written yet is kept; `backlog` tells how much. Output is
    bounded by credit between monitor and root, all else is small, so the backlog is too.
    """

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.closed = False
        self._deaf = False  # the peer reads no more; what it said before is still to be received
        self._decoder = Decoder()
        self._unsent: list[bytes] = []

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self.sock.fileno()

    @property
    def backlog(self) -> int:
        """Bytes that wait to be written."""
        return sum(map(len, self._unsent))

    def send(self, frame: Any) -> None:
        """Write a frame, or keep it until `flush` can; nothing if the peer has gone."""
        if self._deaf:
            return
        self._unsent.append(encode(frame))
        if len(self._unsent) == 1:
            self.flush()

    def flush(self) -> bool:
        """Write what waits; True if all of it is written."""
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
        """The frames that have arrived; sets `closed` when none will follow.

        Raises:
            ProtocolError: The peer does not keep to the protocol; the stream is closed.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
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
        """Close at once; what waits is lost."""
        self.closed = True
        self.sock.close()


def listen(path: str) -> _socket.socket:
    """A listening Unix socket at `path`, for this user alone.

    Raises:
        LaunchError: The path is longer than the system allows, or taken.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise LaunchError(f"cannot listen at {path}: {error}. Set TMPDIR to a short local path.") from None
    os.chmod(path, 0o600)
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def accept(server: _socket.socket) -> _socket.socket | None:
    """The next connection that waits, if any."""
    try:
        fd, _ = server._accept()  # type: ignore[attr-defined]  # what socket.socket.accept() calls
    except (BlockingIOError, ConnectionError):
        return None
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=fd)


def connect(path: str, secret: bytes, timeout_s: float = HANDSHAKE_S) -> ControlSocket:
    """Connect and prove each other's knowledge of the secret.

    Raises:
        OSError: Nobody listens there.
        ProtocolError: Somebody else does.

    Blocks: at most `timeout_s` for each of three messages.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
        client = authentication.Client(secret, os.urandom(authentication.NONCE_BYTES))
        sock.sendall(client.answer(receive_exactly(sock, authentication.GREETING_BYTES)))
        client.check(receive_exactly(sock, authentication.PROOF_BYTES))
    except BaseException:
        sock.close()
        raise
    return ControlSocket(sock)


def to_root(environment: Mapping[str, str]) -> ControlSocket:
    """A connection to the root of the job that this environment is of. Raises, blocks: as `connect`."""
    return connect(environment[names.JOB] + "/root", bytes.fromhex(environment[names.SECRET]))


class Handshake:
    """A connection that has not proved itself yet. Never blocks."""

    def __init__(self, sock: _socket.socket, secret: bytes, now_s: float) -> None:
        self.sock, self.deadline_s = sock, now_s + HANDSHAKE_S
        sock.setblocking(False)
        self._server = authentication.Server(secret, os.urandom(authentication.NONCE_BYTES))
        self._answer = b""
        try:
            self.sock.send(self._server.greeting)
        except OSError:
            pass  # it has gone already, as `progress` will see

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self.sock.fileno()

    def progress(self) -> ControlSocket | None:
        """The stream, once the peer has proved itself.

        Raises:
            ProtocolError: It has not, or went away; the socket is closed.
        """
        try:
            data = self.sock.recv(authentication.ANSWER_BYTES - len(self._answer))
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._answer += data
        try:
            if not data:
                raise ProtocolError("a connection that closed before it proved itself")
            if len(self._answer) < authentication.ANSWER_BYTES:
                return None
            self.sock.send(self._server.check(self._answer))
        except (ProtocolError, OSError) as error:
            self.sock.close()
            raise ProtocolError(str(error)) from None
        return ControlSocket(self.sock)


def receive_exactly(sock: _socket.socket, nbytes: int) -> bytes:
    """So many bytes of a handshake. Blocks as the socket does. Raises: OSError, ProtocolError."""
    data = b""
    while len(data) < nbytes:
        piece = sock.recv(nbytes - len(data))
        if not piece:
            raise ProtocolError("the connection was closed before it was proved: the secret is another")
        data += piece
    return data


def socket_pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected Unix stream sockets."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)


def send_with_fds(stream: ControlSocket, frame: Any, fds: list[int]) -> None:
    """Send a frame with copies of descriptors. The first on a stream; blocks for its bytes."""
    rights = b"".join(fd.to_bytes(4, "little") for fd in fds)
    stream.sock.settimeout(HANDSHAKE_S)
    data = encode(frame)
    sent = stream.sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    stream.sock.sendall(data[sent:])
    stream.sock.setblocking(False)


def receive_with_fds(stream: ControlSocket) -> tuple[Any, list[int]]:
    """The first frame of a stream and the descriptors that came with it.

    Raises:
        ProtocolError: The peer sent something else, or nothing for `HANDSHAKE_S`.
    """
    stream.sock.settimeout(HANDSHAKE_S)
    decoder, fds = Decoder(), list[int]()
    while True:
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
    """Bytes and the descriptors that came with them. Blocks as the socket does."""
    data, ancillary, _, _ = sock.recvmsg(65536, _socket.CMSG_SPACE(4 * 8))
    fds: list[int] = []
    for level, kind, raw in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw) - 3, 4)]
    return data, fds
