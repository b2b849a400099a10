"""The other processes that this one communicates with."""

from __future__ import annotations

import os

from cmpi._runtime.process.peer import Peer
from cmpi.identifiers import RAISED, ExitStatus, Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cmpi._runtime.process.connection_host import PeerHost
    from cmpi._runtime.process.exits import Exits


class Peers:
    """The peers of this process. Guarded by the node's lock, except `wake_readers`.

    Args:
        host: This process, as peers see it.
        exits: How other processes have ended.
    """

    def __init__(self, host: PeerHost, exits: Exits) -> None:
        self._host, self._exits = host, exits
        self._peers: dict[int, Peer] = {}
        self._unreachable: dict[int, ExitStatus] = {}  # living processes that count as ended here

    def __iter__(self) -> Iterator[Peer]:
        """Iterate over all peers; new ones may be added meanwhile."""
        return iter(list(self._peers.values()))

    def get(self, pid: Pid) -> Peer:
        """Return the peer for this process."""
        peer = self._peers.get(pid.value)
        if peer is None:
            peer = self._peers[pid.value] = Peer(self._host, pid)
            status = self._exits.ended(pid.value)
            if status is None:
                status = self._unreachable.get(pid.value)
            if status is not None:
                peer.exited(status)
                peer.progress()
        return peer

    def learn(self, pid: int) -> None:
        """The root has told whether this process shares memory with us, and what it has asked for."""
        if pid in self._peers:
            self._peers[pid].connection.learn()
            self._peers[pid].narrow()

    def exited(self, pid: int, status: ExitStatus) -> None:
        """The process has ended."""
        if pid in self._peers:
            self._peers[pid].exited(status)

    def parted(self, pid: int, reason: str) -> None:
        """The dropped connection with this process will not be made again: it cannot be reached, for this
        reason, or it is about to end (the reason is "")."""
        peer = self.get(Pid(pid))
        if not reason:
            peer.left()
        elif peer.status is None:
            status = self._unreachable[pid] = ExitStatus(RAISED, 0, reason)
            peer.exited(status)

    def rung(self) -> None:
        """The doorbell has rung."""
        for pid, sent in self._host.doorbell.rings():
            self.get(Pid(pid)).connection.rung(sent)

    def map_rings(self) -> None:
        """Map rings whose bell was rung before it existed, or whose ringing was lost."""
        if not self._host.shared_memory:
            return
        try:
            names = os.listdir(self._host.shared_memory)
        except OSError:
            return  # out of descriptors; try again next time
        for name in names:
            writer, _, reader = name.partition("-")
            if reader == f"{self._host.pid.value:x}":
                self.get(Pid(int(writer, 16))).connection.ring_inbox.map()

    def progress(self) -> bool:
        """Move frames in both directions, and forget peers with which nothing is left; True if any
        moved."""
        moved = False
        for pid, peer in list(self._peers.items()):
            moved |= peer.progress()
            if peer.over:
                del self._peers[pid]
        return moved

    def watch_sockets(self) -> None:
        """Have each socket wake the progress thread for exactly what it must do there."""
        for peer in self._peers.values():
            peer.connection.socket_inbox.watch()

    def wake_readers(self) -> None:
        """Ring for every peer that sleeps although something was sent to it. Without the lock."""
        for peer in self:
            peer.connection.wake()
