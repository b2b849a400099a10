"""The interface of a process that its connections and peers use, and no more. For types only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any, Protocol

    from cmpi._core.channel.windows import Windows
    from cmpi._runtime.process.aborts import PendingAborts
    from cmpi._runtime.process.node_lock import NodeLock
    from cmpi._runtime.process.socket_waits import SocketWaits
    from cmpi._transport.doorbell import Doorbell
    from cmpi.identifiers import Pid

    class ConnectionHost(Protocol):
        """The interface that a connection needs. Everything but `lock` is guarded by `lock`."""

        lock: NodeLock
        pid: Pid
        connecting: bool  # a thread is inside MPI, so no other thread may call MPI
        shared_memory: str  # the folder for shared memory with processes of this host; "": none
        shared_memory_bytes: int  # that this process may use to send to each other process
        doorbell: Doorbell
        sockets: select.epoll  # wakes the progress thread
        socket_waits: SocketWaits

        def nudge(self) -> None:
            """Have the progress thread look at its connections now. From any thread."""

        def watch(self, pid: Pid) -> None:
            """Have the root report the end of this process."""

        def shares_memory(self, pid: Pid) -> bool | None:
            """Whether shared memory reaches that process; None: not known yet."""

        def likely_shares_memory(self, pid: Pid) -> bool:
            """Whether that process has not joined, but will probably share memory with this one."""

        def tell_root(self, frame: Any) -> None:
            """Send a frame to the root."""

    class ReservedChannels(Protocol):
        """Accepts channels with reserved names."""

        def opened(self, peer: Any, name: str) -> None:
            """A peer has opened such a channel, and nobody has claimed it."""

    class PeerHost(ConnectionHost, Protocol):
        """The further interface that a peer needs."""

        failed: bool  # this process is ending because of an error
        farewell: bool  # the root orders no more connections with this process
        aborts: PendingAborts
        inlets: ReservedChannels
        windows: Windows  # of the channels that this process receives from

        def promised_bytes(self, pid: Pid) -> int:
            """The memory that this process has asked for, as far as is known; 0: none."""

        def looked_at(self, pid: Pid) -> None:
            """The program has received the end, or the failure, of this process."""
