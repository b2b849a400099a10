"""Creates the connection between a process and its monitor.

The monitor may start a shell or `su`, which passes inherited descriptors on to any of its children. The
inherited descriptor therefore serves only for a single request, which carries one end of a new, private
connection. The kernel tells the monitor which user makes the request.
"""

from __future__ import annotations

import _socket
import os

from cmpi._transport.control_socket import fds_in, socket_pair
from cmpi.errors import NotRunning

_CREDENTIALS_BYTES = 12  # pid, uid, gid
WELCOME, TAKEN, STRANGER = b"w", b"t", b"s"  # the monitor's answers
_REFUSALS = {
    TAKEN: "another process of this rank already uses cmpi, and only one can be part of the job",
    STRANGER: "this process runs as another user than the job, so it cannot be part of it",
    b"": "the monitor of this process accepts no more processes: the job is ending",
}


def listen(inherited: _socket.socket) -> None:
    """In the monitor: make requests on this socket carry the sender's user. Source: Linux unix(7)."""
    inherited.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)


def join(inherited: _socket.socket) -> _socket.socket:
    """In the process: request and return the new connection.

    Raises: NotRunning: The monitor refuses. Blocks: until it answers.
    """
    ours, theirs = socket_pair()
    try:
        rights = theirs.fileno().to_bytes(4, "little")
        inherited.sendmsg([b"j"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        theirs.close()
        answer = ours.recv(1)
    except OSError:
        theirs.close()
        answer = b""
    if answer != WELCOME:
        ours.close()
        raise NotRunning(_REFUSALS.get(answer, _REFUSALS[b""]))
    return ours


def take(inherited: _socket.socket, taken: bool) -> _socket.socket | None:
    """In the monitor: return the connection of the next request; None if it was refused.

    Args:
        inherited: The socket for requests.
        taken: Whether a process has already joined.

    Raises:
        BlockingIOError: There is no request.
        EOFError: No process has the other end any more.
    """
    room = _socket.CMSG_SPACE(_CREDENTIALS_BYTES) + _socket.CMSG_SPACE(4 * 4)
    try:
        data, ancillary, _, _ = inherited.recvmsg(1, room, _socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        raise
    except OSError:
        data, ancillary = b"", []
    if not data:
        raise EOFError
    uids = [
        int.from_bytes(raw[4:8], "little")
        for level, kind, raw in ancillary
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS)
    ]
    sockets, fds = [], fds_in(ancillary)
    for fd in fds:
        try:
            sockets.append(_socket.socket(fileno=fd))
        except OSError:
            os.close(fd)  # it is not a socket
    if len(sockets) == len(fds) == 1:
        sockets[0].setblocking(False)
        verdict = STRANGER if uids != [os.getuid()] else TAKEN if taken else WELCOME
        try:
            sockets[0].send(verdict)
        except OSError:
            verdict = b""  # it does not wait for an answer
        if verdict == WELCOME:
            return sockets[0]
    for sock in sockets:
        sock.close()
    return None
