"""The guests of a job: processes that have joined it by themselves, without a monitor."""

from __future__ import annotations

import _socket
import os

from cmpi._core.protocol import guest_root, launcher_root, monitor_root
from cmpi._core.protocol.process_root_connections import Leaving
from cmpi._core.protocol.process_root_waits import Blocked, Stacks, StillBlocked
from cmpi._runtime.root import remains
from cmpi._transport import clock
from cmpi.identifiers import OK, RAISED, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
    from cmpi._runtime.root.root_loop import RootLoop

SIGTERM = 15
JOIN_S = 120.0  # how long the first guest may take to join, if the job is there for it
LEFT_UNSAID = ExitStatus(RAISED, 0, "it ended, or was ended, without leaving the job")


class _Guest:
    """One guest: its connection, and a descriptor that becomes readable when the process ends.

    The connection alone does not show its end: a process that the guest has forked holds it open, too.
    """

    def __init__(self, peer: ControlPeer, os_pid: int, pidfd: int) -> None:
        self.peer, self.os_pid, self.pidfd = peer, os_pid, pidfd
        self.leaves = False  # it has said goodbye
        self.signal = 0  # the job has sent it away, as if by this signal


class GuestTable:
    """The guests by their pids.

    Args:
        job: The job machine, which is told about them.
        host: The root's own host, where they run.
        folder: The job's folder there.
        shared_memory: The job's folder in shared memory.
        loop: The root's loop.
        do: Carries out actions.
        say: Shows the user a line of text.
        keeper: The kernel's pid of the process with whose end the job ends, or `FIRST_GUEST`; 0: none.
    """

    def __init__(
        self,
        job: JobMachine,
        host: str,
        folder: str,
        shared_memory: str,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        say: Callable[[str], None],
        keeper: int,
    ) -> None:
        self._job, self._host, self._folder, self._shared_memory = job, host, folder, shared_memory
        self._loop, self._do, self._say = loop, do, say
        self._guests: dict[int, _Guest] = {}
        self._keeper = keeper
        self._keeper_fd = -1 if keeper == launcher_root.FIRST_GUEST else _open_pidfd(keeper)
        self.deadline_s: float | None = None  # when to call `tick`
        if self._keeper_fd >= 0:
            loop.watch(self._keeper_fd, lambda _: self._keeper_ended())
        self.peers: ControlPeers

    def __len__(self) -> int:
        return len(self._guests)

    def __contains__(self, pid: int) -> bool:
        return pid in self._guests

    def start(self) -> None:
        """The job begins; if its keeper has ended in the meantime, end the job."""
        if self._keeper == launcher_root.FIRST_GUEST:  # none has come yet
            self.deadline_s = clock.now_s() + JOIN_S
        elif self._keeper and self._keeper_fd < 0:
            self._keeper_ended()

    def tick(self, now_s: float) -> None:
        """End the job if the guest for which it was started has not come."""
        if self.deadline_s is not None and now_s >= self.deadline_s:
            self._keeper_ended()

    def tell(self, pid: int, frame: Any) -> None:
        """Send a frame to a guest."""
        self.peers.send(self._guests[pid].peer, frame)

    def order(self, pid: int, frame: Any) -> None:
        """Carry out an order for its monitor, which a guest does not have. A signal sends the guest away:
        the process and the job go on without each other."""
        if isinstance(frame, monitor_root.Signal):
            self._guests[pid].signal = frame.signal
            self.peers.drop(self._guests[pid].peer)

    def dismiss_all(self) -> None:
        """The job is over."""
        for guest in list(self._guests.values()):
            guest.signal = SIGTERM
            self.peers.drop(guest.peer)

    # -- from guests -----------------------------------------------------------------------

    def take_in(self, peer: ControlPeer, frame: guest_root.GuestUp) -> None:
        """A process outside the job wants to join it."""
        os_pid = _number_of(peer)
        pid, actions = self._job.guest_up(frame.label, self._host, clock.now_s())
        if pid is None:
            self.peers.drop(peer)
            return
        pidfd = _open_pidfd(os_pid)
        self._guests[pid] = _Guest(peer, os_pid, pidfd)
        if self._keeper == launcher_root.FIRST_GUEST:
            self._keeper, self.deadline_s = os_pid, None
        peer.title = f"the guest {self._job.processes[pid].title}"
        peer.on_frame, peer.gone = lambda _, frame: self._on_frame(pid, frame), lambda _: self._gone(pid)
        if pidfd >= 0:
            self._loop.watch(pidfd, lambda _: self.peers.drop(peer))
        self._do(actions)
        self.peers.send(peer, guest_root.GuestMayJoin(self._shared_memory))

    def _on_frame(self, pid: int, frame: Any) -> None:
        if isinstance(frame, Stacks):
            self._say(f"stacks of {self._job.processes[pid].title}:\n{frame.text.rstrip()}")
        # The deadlock check leaves guests out, because their users may always act.
        elif not isinstance(frame, (Blocked, StillBlocked)):
            self._guests[pid].leaves |= isinstance(frame, Leaving)
            self._do(self._job.from_rank(pid, frame, clock.now_s()))

    def _gone(self, pid: int) -> None:
        """The guest's connection was closed, by either side."""
        guest = self._guests.pop(pid)
        if guest.pidfd >= 0:
            self._loop.forget(guest.pidfd)
            os.close(guest.pidfd)
        status = LEFT_UNSAID
        if guest.leaves:
            status = ExitStatus(RAISED if self._job.processes[pid].summary else OK)
        elif guest.signal:
            status = ExitStatus(128 + guest.signal, guest.signal)
        if guest.os_pid == self._keeper:
            self._keeper_ended()
        self._do(self._job.guest_ended(pid, status, clock.now_s()))
        # What earlier guests have left: the processes of this one are still being ended.
        remains.remove(self._folder, self._shared_memory, self._job.has_ended)

    def _keeper_ended(self) -> None:
        if self._keeper_fd >= 0:
            self._loop.forget(self._keeper_fd)
            os.close(self._keeper_fd)
        self._keeper, self._keeper_fd, self.deadline_s = 0, -1, None
        because = "the process for which the job was started has left it"
        self._do(self._job.interrupt(SIGTERM, clock.now_s(), because, OK))


def _number_of(peer: ControlPeer) -> int:
    """The pid of the process that made this connection, from the kernel. Source: Linux unix(7),
    SO_PEERCRED."""
    credentials = peer.stream.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little")


def _open_pidfd(os_pid: int) -> int:
    """A descriptor for this process; -1 if it has ended, or is not visible from here."""
    try:
        return os.pidfd_open(os_pid) if os_pid > 0 else -1
    except OSError:
        return -1
