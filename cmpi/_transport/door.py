"""`Door`: accepts connections from visitors who prove that they know a secret, and rejects all others.

Every listening socket of cmpi is behind one, Unix or TCP, for the job's secret or for the key of one
connection. Only the proof of a visitor is read, and no descriptors from it are received.
"""

from __future__ import annotations

import _socket
import errno
import os
import select

from cmpi._core.protocol import authentication
from cmpi._transport import clock
from cmpi._transport.proof import HANDSHAKE_S, is_ours
from cmpi.errors import LaunchError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._core.protocol.authentication import Key

CROWDED_S = 2.0  # the same, if others must wait because there are `MAX_VISITORS`
MAX_VISITORS = 256  # the most unproved visitors at a time; the rest wait in the kernel's queue
REST_S = 0.1  # before the next try, if there are no descriptors left for a visitor
BACKLOG = 1024


class Door:
    """A listening socket, with the visitors that have not proved themselves yet. For one thread at a time.

    Wait until `fileno` is readable or `deadline_s` has come, then call `admit`.

    Args:
        server: The listening socket; the door closes it.
        key: The secret that visitors must know.
    """

    def __init__(self, server: _socket.socket, key: Key) -> None:
        self.server, self._key = server, key
        server.setblocking(False)
        self._poll = select.epoll()
        self._visitors: dict[int, _Visitor] = {}  # by descriptor; the oldest first
        self._open = False
        self._rest_until_s: float | None = None
        self.fault = ""  # why visitors have to wait, for the caller to report and clear
        self._listen(True)

    def fileno(self) -> int:
        """A descriptor that is readable when `admit` has something to do."""
        return self._poll.fileno()

    @property
    def deadline_s(self) -> float | None:
        """When to call `admit` even if the descriptor is not readable."""
        times = [] if self._rest_until_s is None else [self._rest_until_s]
        if self._visitors:
            times.append(next(iter(self._visitors.values())).came_s + self._patience_s)
        return min(times, default=None)

    def admit(self, now_s: float) -> list[_socket.socket]:
        """Return the connections that have proved themselves since the last call. Blocks: never."""
        admitted = []
        ready = [fd for fd, _ in self._poll.poll(0)]
        for fd in ready:
            visitor = self._visitors.get(fd)
            if visitor is None:
                continue
            try:
                proved = visitor.proved()
            except (ProtocolError, OSError):
                self._part(fd).close()
                continue
            if proved:
                admitted.append(self._part(fd))
        patience_s = self._patience_s
        for fd in [fd for fd, it in self._visitors.items() if it.came_s + patience_s <= now_s]:
            self._part(fd).close()
        if self._rest_until_s is not None and now_s >= self._rest_until_s:
            self._rest_until_s = None
        if self._rest_until_s is None:
            self._let_come(now_s)
        return admitted

    def wait(self, end_s: float) -> _socket.socket | None:
        """Wait for a visitor that proves itself; None if there is none by `end_s`. Blocks: until then."""
        while True:
            now_s = clock.now_s()
            for sock in self.admit(now_s):
                return sock  # a door for one connection: only one peer knows the key
            if now_s >= end_s:
                return None
            next_s = min(t for t in (self.deadline_s, end_s) if t is not None)
            clock.wait_readable(self._poll.fileno(), next_s)

    def close(self) -> None:
        """Stop listening, and reject all visitors that have not proved themselves."""
        for visitor in self._visitors.values():
            visitor.sock.close()
        self._visitors.clear()
        self._poll.close()
        self.server.close()

    @property
    def _patience_s(self) -> float:
        return CROWDED_S if len(self._visitors) >= MAX_VISITORS else HANDSHAKE_S

    def _part(self, fd: int) -> _socket.socket:
        self._poll.unregister(fd)
        return self._visitors.pop(fd).sock

    def _listen(self, on: bool) -> None:
        if on != self._open:
            self._open = on
            if on:
                self._poll.register(self.server.fileno(), select.EPOLLIN)
            else:
                self._poll.unregister(self.server.fileno())

    def _let_come(self, now_s: float) -> None:
        """Accept and greet waiting visitors, as far as there is room."""
        while len(self._visitors) < MAX_VISITORS:
            try:
                sock = accept(self.server)
            except OSError as error:  # out of descriptors: serve the visitors already accepted
                self.fault = error.strerror or str(error)
                self._rest_until_s = now_s + REST_S
                self._listen(False)
                return
            if sock is None:
                break
            visitor = _Visitor(sock, self._key, now_s)
            self._visitors[sock.fileno()] = visitor
            self._poll.register(sock.fileno(), select.EPOLLIN)
        self._listen(len(self._visitors) < MAX_VISITORS)


class _Visitor:
    """A connection that has not proved itself."""

    def __init__(self, sock: _socket.socket, key: Key, now_s: float) -> None:
        self.sock, self.came_s = sock, now_s
        sock.setblocking(False)
        self._server = authentication.Server(key, os.urandom(authentication.NONCE_BYTES))
        self._answer = b""
        try:
            sock.send(self._server.greeting)
        except OSError:
            pass  # it has already gone; `proved` will notice

    def proved(self) -> bool:
        """Whether it has proved itself; then it also has our proof. Raises: ProtocolError, OSError."""
        try:
            data = self.sock.recv(authentication.ANSWER_BYTES - len(self._answer))
        except BlockingIOError:
            return False
        if not data:
            raise ProtocolError("a connection was closed before it was authenticated")
        self._answer += data
        if len(self._answer) < authentication.ANSWER_BYTES:
            return False
        self.sock.send(self._server.check(self._answer))
        return True


def listen(path: str) -> _socket.socket:
    """Create a listening Unix socket at `path`, for this user alone.

    Raises:
        LaunchError: The path is too long for the system, or already exists.
    """
    try:
        return listening(_socket.AF_UNIX, path)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise LaunchError(f"cannot listen at {path}: {error}. Set TMPDIR to a short local path.") from None


def listening(family: int, address: str | tuple[Any, ...]) -> _socket.socket:
    """Create a listening stream socket; at a path, for this user alone. No other code listens.

    Raises: OSError: The address is not this host's or is in use, or there are no descriptors left.
    """
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o600)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def accept(server: _socket.socket) -> _socket.socket | None:
    """Accept the next waiting connection, if any; by a Unix socket, only from a process of this user.

    Raises: OSError: There are no descriptors left.
    """
    while True:
        try:
            fd, _ = server._accept()  # type: ignore[attr-defined]  # what socket.socket.accept() calls
        except (BlockingIOError, ConnectionError):
            return None
        sock = _socket.socket(server.family, _socket.SOCK_STREAM, 0, fileno=fd)
        if is_ours(sock):
            return sock
        sock.close()
