"""The connecting side of the handshake with a door, on a blocking socket."""

from __future__ import annotations

import _socket
import errno
import os

from cmpi._core.protocol import authentication
from cmpi._transport import clock
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.authentication import Key

HANDSHAKE_S = 10.0  # how long the other end may take to prove itself


def prove(sock: _socket.socket, key: Key, limit_s: float | None = HANDSHAKE_S) -> None:
    """Prove that we know the key, and check the listener's proof, before anything else is sent.

    Raises: OSError, ProtocolError. Blocks: at most `limit_s` for each of two messages (None: without
    limit).
    """
    if not is_ours(sock):
        raise ProtocolError("another user listens at the address of this job")
    client = authentication.Client(key, os.urandom(authentication.NONCE_BYTES))
    sock.sendall(client.answer(receive_exactly(sock, authentication.GREETING_BYTES, limit_s)))
    client.check(receive_exactly(sock, authentication.PROOF_BYTES, limit_s))


def connect(sock: _socket.socket, path: str) -> None:
    """Connect to a process of this user that listens at this path.

    Raises: OSError: There is none. Blocks: as the socket does.
    """
    sock.connect(path)
    if not is_ours(sock):
        raise PermissionError(errno.EACCES, "another user listens there", path)


def is_ours(sock: _socket.socket) -> bool:
    """Whether the other end is a process of this user. TCP cannot tell; there only the proof counts.

    Source: Linux unix(7), SO_PEERCRED.
    """
    if sock.family != _socket.AF_UNIX:
        return True
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little") == os.geteuid()


def receive_exactly(sock: _socket.socket, nbytes: int, limit_s: float | None = HANDSHAKE_S) -> bytes:
    """Receive this many bytes. Raises: OSError, ProtocolError. Blocks: at most `limit_s` (None: without
    limit)."""
    data, end_s = b"", None if limit_s is None else clock.now_s() + limit_s
    while len(data) < nbytes:
        if end_s is not None and not clock.wait_readable(sock.fileno(), end_s):
            raise TimeoutError(f"the other end has not answered within {limit_s:g} s")
        piece = sock.recv(nbytes - len(data))
        if not piece:
            raise ProtocolError("the peer rejected this process's secret, and closed the connection")
        data += piece
    return data
