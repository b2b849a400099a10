"""Receives from one peer through a socket.

`readership` decides which thread reads it; this module translates its decisions to epoll. A waiting thread
polls for a while, with the node's lock held, and then sleeps on the socket (see `socket_waits`). Output
that waits is always left to the progress thread.

Any thread that holds the lock may read, whatever the claims: these only determine which thread is woken. A
second thread that waits for the same peer sleeps on its condition, and so does an event loop, which may be
busy with other tasks: the thread that reads the socket wakes them.
"""

from __future__ import annotations

import select
import time

from cmpi._core.channel.backoff import Backoff
from cmpi._core.channel.readership import Readership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from cmpi._runtime.process.connection_host import ConnectionHost
    from cmpi._transport.socket_transport import SocketTransport

SPIN_S: Final = 150e-6  # for which a reader polls: as long as falling asleep and being woken takes


class SocketInbox:
    """Receives from one peer through its socket. Guarded by the node's lock.

    Args:
        host: This process.
        read: Reads and delivers all input that has arrived by the transport, without blocking; returns
            whether there was any.
    """

    def __init__(self, host: ConnectionHost, read: Callable[[SocketTransport], bool]) -> None:
        self._host, self._read = host, read
        self._transport: SocketTransport | None = None
        self._readership = Readership()
        self._registered, self._watched = -1, 0  # the descriptor registered with epoll, and its events
        self._worth_it = Backoff()  # whether to poll

    @property
    def descriptor(self) -> int:
        """The socket's descriptor; -1 if there will be no more input."""
        return -1 if self._transport is None else self._transport.fileno()

    @property
    def usable(self) -> bool:
        """True if there may be input."""
        return self.descriptor >= 0

    @property
    def watched(self) -> bool:
        """True if the progress thread must look every millisecond."""
        return self._readership.paced

    def connect(self, transport: SocketTransport) -> None:
        """The connection has been set up."""
        self.free()
        self._transport = transport
        self._readership.opened()
        self.watch()

    def watch(self) -> None:
        """Have epoll wake the progress thread for exactly what it must do at this socket now."""
        transport, wanted = self._transport, 0
        if transport is None or transport.fileno() < 0:
            self._readership.closed()
        else:
            wanted = (select.EPOLLIN if self._readership.watched else 0) | (
                select.EPOLLOUT if transport.busy else 0
            )
        if wanted == self._watched:
            return
        epoll = self._host.sockets
        if not self._watched:
            self._registered = self.descriptor
            epoll.register(self._registered, wanted)
        elif wanted:
            epoll.modify(self._registered, wanted)
        else:  # even without events, epoll would report the end of the connection again and again
            epoll.unregister(self._registered)
        self._watched = wanted

    def claim(self, reader: Any) -> bool:
        """Claim the socket, so that no other thread is woken for its input; False if another thread has the
        claim, or there will be no more input."""
        claimed = self._readership.claim(reader)
        self.watch()
        return claimed

    def give_up(self, reader: Any) -> None:
        """Give up the claim, if this reader has it, so that other threads are woken again."""
        self._readership.give_up(reader)
        self.watch()

    def glance(self) -> None:
        """Take in what has arrived."""
        self.scan()

    def scan(self) -> bool:
        """Take in what has arrived, in a thread that waits or looks at many peers; True if there was
        anything."""
        transport = self._transport
        came = transport is not None and self._read(transport)
        if came:
            self._readership.has_read()
        return came

    def progress(self) -> bool:
        """Take in what has arrived, in the progress thread, which then chooses how long to sleep."""
        transport = self._transport
        came = transport is not None and self._read(transport)
        self._readership.looked()
        return came

    def look(self, spin_s: float = SPIN_S) -> bool:
        """Poll for this long, in the caller's thread, and take in what arrives; but look only once if
        polling was in vain the last times. False if nothing arrived. Blocks: for that long, with the lock
        held."""
        if self.scan():
            return True
        if not spin_s or not self._worth_it.due or not self.claim(self):
            return False
        came, end_s = False, time.perf_counter() + spin_s
        try:
            while not came and self.usable and time.perf_counter() < end_s:
                came = self.scan()
        finally:
            self.give_up(self)
        self._worth_it.tried(came)
        return came

    def rest(self) -> None:
        """A thread will wait without reading: have input wake the progress thread."""
        self._readership.rest()
        self.watch()

    def free(self) -> None:
        """Stop using the socket, before it is closed: a socket that a forked process still has open could
        not be removed from epoll afterwards. A thread that sleeps on it continues to sleep without it."""
        sleeping = self._readership.claimant
        self._transport = None
        self.watch()
        if sleeping is not None:
            sleeping.sleeper.release()

    def forked(self) -> None:
        """In a forked process: the socket and epoll belong to the parent, and are shared with it."""
        self._transport, self._watched = None, 0
        self._readership.closed()
