"""An agent's socket to a process of its own host, at the end of a stream."""

from __future__ import annotations

import _socket

from cmpi._transport import proof


class LocalEnd:
    """Non-blocking. What the process no longer takes counts as taken, and is dropped.

    Args:
        sock: The connection; None if there is none.
    """

    def __init__(self, sock: _socket.socket | None) -> None:
        self._sock = sock
        self._unwritten = bytearray()
        self._deaf = sock is None  # the process takes nothing more
        self._last = False  # what is unwritten is all that there will be
        self._shut = False
        self.sent_all = sock is None  # the process sends nothing more
        self.watched = 0  # the events for which epoll watches it

    @classmethod
    def connect(cls, path: str) -> LocalEnd:
        """Connect to the process that listens at this path; if it does not, the end is over. Blocks:
        never."""
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            proof.connect(sock, path)
        except OSError:
            sock.close()
            return cls(None)
        return cls(sock)

    def fileno(self) -> int:
        """The descriptor; -1 if there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    @property
    def unwritten(self) -> bool:
        """True if bytes wait until the process takes them."""
        return bool(self._unwritten)

    @property
    def over(self) -> bool:
        """True if nothing more will go either way."""
        return self.sent_all and (self._deaf or (self._last and not self._unwritten))

    def read(self, nbytes: int) -> bytes:
        """Read up to so many bytes that the process has sent; sets `sent_all` at their end."""
        assert self._sock is not None
        try:
            data = self._sock.recv(nbytes)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.sent_all = not data
        return data

    def write(self, data: memoryview) -> int:
        """Give bytes to the process; returns how many were taken now."""
        if self._deaf:
            return len(data)
        if self._unwritten:
            self._unwritten += data
            return 0
        n = self._put(data)
        self._unwritten += data[n:]
        return n

    def flush(self) -> int:
        """Give unwritten bytes to the process; returns how many were taken."""
        with memoryview(self._unwritten) as view:
            n = self._put(view)
        del self._unwritten[:n]
        self._shut_if_done()
        return n

    def finish(self) -> None:
        """Nothing follows what is unwritten."""
        self._last = True
        self._shut_if_done()

    def close(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()

    def _put(self, data: memoryview) -> int:
        assert self._sock is not None
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._deaf = True
            return len(data)

    def _shut_if_done(self) -> None:
        if self._last and not self._shut and not self._unwritten and self._sock is not None:
            self._shut = True
            try:
                self._sock.shutdown(_socket.SHUT_WR)
            except OSError:
                self._deaf = True
