"""The state of this process in its job, as its connections and peers see it (see `connection_host`)."""

from __future__ import annotations

import os
import select
import threading

from cmpi._core.channel.windows import Windows
from cmpi._runtime.process.aborts import PendingAborts
from cmpi._runtime.process.socket_waits import SocketWaits
from cmpi._transport.doorbell import Doorbell
from cmpi.identifiers import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol import process_root
    from cmpi._runtime.process.connection_host import ReservedChannels
    from cmpi._runtime.process.exits import Exits
    from cmpi._runtime.process.node_lock import NodeLock
    from cmpi._runtime.process.root_connection import RootConnection


class NodeState:
    """The state. All of it is guarded by the lock, except `nudge` and what is sent to the root.

    Args:
        lock: The lock of everything that this process knows about its job.
        root: The connection to the root.
        exits: What the root has told about other processes.
        welcome: What the root has told about this process.
        memory: The folder for shared memory with processes of this host; "": none.
    """

    inlets: ReservedChannels

    def __init__(
        self,
        lock: NodeLock,
        root: RootConnection,
        exits: Exits,
        welcome: process_root.Welcome,
        memory: str,
    ) -> None:
        self.lock = lock
        self.pid = Pid(welcome.pid)
        self.doorbell = Doorbell(welcome.bells, welcome.pid)
        self.shared_memory = memory if welcome.shared_memory_bytes else ""
        self.shared_memory_bytes = welcome.shared_memory_bytes
        self.connecting = False  # the connector is inside MPI, so no other thread may call MPI
        self.failed = False  # ending because of an error: peers learn that, instead of an orderly close
        self.parting = False  # saying goodbye to the peers
        self.farewell = False  # the root orders no more connections with this process
        self.closed = False  # this process has left the job
        self.owner = os.getpid()  # a process forked from it is not the node
        self.wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.sockets = select.epoll()
        self.socket_waits = SocketWaits(lock)
        self.progress_thread: threading.Thread | None = None
        self.tell_root, self.looked_at = root.tell, root.looked_at
        self.watch, self.promised_bytes = exits.watch, exits.promised_bytes
        self.windows = Windows(welcome.promised_bytes)
        self.shares_memory, self.likely_shares_memory = exits.shares_memory, exits.likely_shares_memory
        self.aborts = PendingAborts(self.nudge)

    def nudge(self) -> None:
        """Have the progress thread look at its connections now. From any thread, at any time."""
        if threading.current_thread() is not self.progress_thread:
            try:
                os.write(self._wake_write, b"x")
            except OSError:
                pass  # already nudged; or a guest has left, and there is no thread to nudge

    def close(self) -> None:
        """The progress thread has ended; the process goes on without the job."""
        write, self._wake_write = self._wake_write, -1
        os.close(write)
        os.close(self.wake_read)
        self.sockets.close()
        self.socket_waits.close()
