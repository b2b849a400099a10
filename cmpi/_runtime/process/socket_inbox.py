"""The way in from one peer, through a socket.

`readership` decides which thread reads it; here its decisions become those of epoll. A thread that waits
looks for a while, with the node's lock, and then sleeps on the socket (see `socket_waits`). Output that
waits is always the progress thread's.

Whoever has the lock may read, whatever the claims: they only say who is woken. A second thread that waits
for the same peer sleeps on its condition, and so does an event loop, which may be busy with other tasks:
whoever reads the socket wakes them.
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

SPIN_S: Final = 150e-6  # of a reader: as long as it takes to fall asleep and be woken


class SocketInbox:
    """What comes through the socket from one peer. Guarded by the node's lock.

    Args:
        host: This process.
        read: Reads what has come until there is no more, and delivers it, never blocking; true if something
            had come.
    """

    def __init__(self, host: ConnectionHost, read: Callable[[], bool]) -> None:
        self._host, self._read = host, read
        self._transport: SocketTransport | None = None
        self._readership = Readership()
        self._registered, self._watched = -1, 0  # the descriptor that epoll has, and for which events
        self._worth_it = Backoff()  # to look

    @property
    def descriptor(self) -> int:
        """Of the socket; -1 if nothing can come."""
        return -1 if self._transport is None else self._transport.fileno()

    @property
    def usable(self) -> bool:
        """True if something may come."""
        return self.descriptor >= 0

    @property
    def watched(self) -> bool:
        """True if the progress thread must look every millisecond."""
        return self._readership.paced

    def connect(self, transport: SocketTransport) -> None:
        """The connection stands."""
        self.free()
        self._transport = transport
        self._readership.opened()
        self.watch()

    def watch(self) -> None:
        """Have epoll wake the progress thread for what it has to do there now, and for nothing else."""
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
        else:  # without any event it would report the end of the connection, again and again
            epoll.unregister(self._registered)
        self._watched = wanted

    def claim(self, reader: Any) -> bool:
        """Have nobody else woken for what comes; false if another thread reads, or nothing can come."""
        claimed = self._readership.claim(reader)
        self.watch()
        return claimed

    def give_up(self, reader: Any) -> None:
        """Have others woken again, if this reader has the claim."""
        self._readership.give_up(reader)
        self.watch()

    def glance(self) -> None:
        """Hear what is there already."""
        self.scan()

    def scan(self) -> bool:
        """Hear what is there already, in a thread that waits, or looks at many; true if something came."""
        came = self._read()
        if came:
            self._readership.has_read()
        return came

    def progress(self) -> bool:
        """Hear what is there already, in the progress thread, which then chooses how long it sleeps."""
        came = self._read()
        self._readership.looked()
        return came

    def look(self, spin_s: float = SPIN_S) -> bool:
        """Look for so long, in the caller's thread, and hear what comes; but only once if longer looks were
        in vain the last times. False if nothing came. Blocks: for that long, with the lock."""
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
        """A thread will wait without reading: have the progress thread woken for what comes."""
        self._readership.rest()
        self.watch()

    def free(self) -> None:
        """Let go of the socket, before it is closed: one that a forked process still has open could not be
        taken from epoll any more. A thread that sleeps on it goes on to sleep without it."""
        sleeping = self._readership.claimant
        self._transport = None
        self.watch()
        if sleeping is not None:
            sleeping.sleeper.release()

    def forked(self) -> None:
        """In a forked process: the socket and epoll are the parent's, with whom this one shares them."""
        self._transport, self._watched = None, 0
        self._readership.closed()
