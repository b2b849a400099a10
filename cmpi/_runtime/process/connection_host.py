"""A process as its connections and peers see it: what they need of it, and no more. For types only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any, Protocol

    from cmpi._runtime.process.aborts import PendingAborts
    from cmpi._runtime.process.node_lock import NodeLock
    from cmpi._runtime.process.socket_waits import SocketWaits
    from cmpi._transport.doorbell import Doorbell
    from cmpi.identifiers import Pid

    class ConnectionHost(Protocol):
        """The interface that a connection needs. All but `lock` is guarded by that."""

        lock: NodeLock
        pid: Pid
        connecting: bool  # a thread is inside MPI, so no other thread may call MPI
        shared_memory: str  # the folder where processes of this host meet; "": none
        shared_memory_bytes: int  # that this process may share with each other one
        doorbell: Doorbell
        sockets: select.epoll  # wakes the progress thread
        socket_waits: SocketWaits

        def nudge(self) -> None:
            """Have the progress thread look at its connections now. From any thread."""

        def watch(self, pid: Pid) -> None:
            """Have the root tell us when this process ends."""

        def shares_memory(self, pid: Pid) -> bool | None:
            """Whether we can send to that process through shared memory; None: not known yet."""

        def likely_shares_memory(self, pid: Pid) -> bool:
            """Whether that one has not joined, and is expected to share memory with us then."""

        def tell_root(self, frame: Any) -> None:
            """Send a frame to the root."""

    class ReservedChannels(Protocol):
        """Takes in channels with reserved names."""

        def opened(self, peer: Any, name: str) -> None:
            """A peer has opened such a channel, and nobody has claimed it."""

    class PeerHost(ConnectionHost, Protocol):
        """The further interface that a peer needs."""

        failed: bool  # this process is ending by an error
        aborts: PendingAborts
        inlets: ReservedChannels

        def looked_at(self, pid: Pid) -> None:
            """The program has received how this process ended, or failed."""
