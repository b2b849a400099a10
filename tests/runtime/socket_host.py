"""One end of a socket as a process has it, with an epoll but without a progress thread."""

import select
import socket
import threading

from cmpi._runtime.process.connection_condition import ConnectionCondition
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._runtime.process.socket_inbox import SocketInbox
from cmpi._runtime.process.socket_waits import SocketWaits
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.socket_transport import SocketTransport


class Quiet:
    """A ring that never has input."""

    def rest(self):
        pass


class Host:
    """What a socket's inbox needs of its process and its connection."""

    def __init__(self):
        self.lock, self.sockets, self.came = NodeLock(), select.epoll(), []
        self.waits = SocketWaits(self.lock)
        ours, theirs = socket.socketpair()
        self.transport, self.peer = SocketTransport(ours), SocketTransport(theirs)
        self.inbox = self.socket_inbox = SocketInbox(self, self.read)
        self.ring_inbox = Quiet()
        self.changed = ConnectionCondition(self.lock, self.waits, lambda: (self,))
        self.inbox.connect(self.transport)

    def read(self, transport):
        assert self.lock._is_owned()
        before = len(self.came)
        try:
            while (frame := transport.receive()) is not None:
                self.came.append((frame, threading.current_thread()))
                self.changed.notify_all()
        except TransportBroken:
            self.inbox.watch()
        return len(self.came) > before

    def watched(self):
        """What the progress thread would be woken for now."""
        return {event for _, event in self.sockets.poll(0)}

    def await_sleeper(self, n=1):
        """Wait until this many threads wait; when it returns, none of them holds the lock."""
        while True:
            with self.lock:
                if self.changed.waiters == n:
                    return

    def close(self):
        with self.lock:
            self.inbox.free()
        for transport in (self.transport, self.peer):
            transport.free()
        self.waits.close()
        self.sockets.close()

    def rest(self):
        self.inbox.rest()

    @property
    def idle(self):
        return len(self.waits._idle)


def waiting(host, n=1, timeout=None):
    """Start a thread that waits for n frames, and appends its answer to a list."""
    answers = []

    def wait():
        with host.lock:
            answers.append(host.changed.wait_for(lambda: len(host.came) >= n, timeout))

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, answers
