"""The monitors of the job's processes: receives their reports, and sends them orders."""

from __future__ import annotations

import os

from cmpi._core.job.start_order import start_order
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_waits import Blocked, Stacks, StillBlocked
from cmpi._core.protocol.wire import Decoder, handler
from cmpi._runtime import environment
from cmpi._runtime.linux import shared_memory_room
from cmpi._transport import clock
from cmpi.identifiers import ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._runtime.root.console import Consoles
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
    from cmpi._runtime.root.ending_processes import EndingProcesses
    from cmpi._runtime.root.root_loop import RootLoop


class MonitorTable:
    """The monitors by the pid of their process.

    Args:
        job: The job machine, which is told about their processes.
        consoles: The consoles of their programs, which print output and check for deadlocks.
        loop: The root's loop.
        do: Carries out actions.
        job_terminated: Called when Slurm has ended the job.
    """

    def __init__(
        self,
        job: JobMachine,
        consoles: Consoles,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        job_terminated: Callable[[], None],
    ) -> None:
        self._job, self._consoles = job, consoles
        self._loop, self._do = loop, do
        self._monitors: dict[int, ControlPeer] = {}
        self._rank_frames: dict[int, Decoder] = {}  # decodes the stream of each process
        self._os_pids: dict[int, int] = {}  # of the processes that have been started
        self.peers: ControlPeers
        self.ending: EndingProcesses
        self._handlers: dict[type, Callable[[int, Any], None]] = {
            monitor_root.ProcessStarted: self._started,
            monitor_root.Output: self._output,
            monitor_root.FromRank: self._from_rank,
            monitor_root.ProcessExited: self._exited,
            monitor_root.OverMemory: self._over_memory,
            monitor_root.CannotRun: self._cannot_run,
            monitor_root.StdinTaken: self._stdin_taken,
            monitor_root.RankStacks: lambda pid, frame: consoles.of(pid).stacks.heard(pid, frame),
            monitor_root.JobTerminated: lambda pid, frame: job_terminated(),
        }
        self._rank_handlers: dict[type, Callable[[int, Any], None]] = {
            Blocked: self._waits,
            StillBlocked: self._waits,
            Stacks: self._stacks,
        }  # all other frames are for the job machine

    def __len__(self) -> int:
        return len(self._monitors)

    # -- to monitors -----------------------------------------------------------------------

    def tell(self, pid: int, frame: Any) -> None:
        """Send a frame to the monitor of a process, if it has one."""
        peer = self._monitors.get(pid)
        if peer is not None:
            self.peers.send(peer, frame)

    def __contains__(self, pid: int) -> bool:
        """Whether this process has a monitor."""
        return pid in self._monitors

    def begin(self, pid: int, settings: list[str]) -> None:
        """Have the monitor of a process start it."""
        if pid not in self._monitors:
            return
        process, console = self._job.processes[pid], self._consoles.of(pid)
        order = start_order(console.order, console.places.get(process.host), process, settings)
        self.tell(pid, order)
        if order.stdin:
            console.feeder.start(lambda data: self._loop.post(lambda: self._feed(pid, data)))

    def dismiss_all(self) -> None:
        """The job is over."""
        for peer in self._monitors.values():
            self.peers.send(peer, monitor_root.Dismiss())

    def any_of(self, owner: int) -> bool:
        """Whether there is still a monitor of the program deployed by this cmpirun."""
        return bool(self._of(owner))

    def dismiss_of(self, owner: int) -> None:
        """Dismiss the monitors of a program that is over."""
        for pid in self._of(owner):
            self.tell(pid, monitor_root.Dismiss())

    def _of(self, owner: int) -> list[int]:
        return [pid for pid in self._monitors if self._job.processes[pid].guest == owner]

    def _feed(self, pid: int, data: bytes) -> None:
        if pid not in self._monitors:
            return  # it has ended
        console = self._consoles.of(pid)
        if console.feeder.echoes:
            console.bridge.typed(pid, data)
        self.tell(pid, monitor_root.Stdin(data))

    # -- from monitors ---------------------------------------------------------------------

    def take_in(self, peer: ControlPeer, frame: monitor_root.MonitorUp) -> None:
        """A monitor has reported."""
        pid, actions = self._job.monitor_up(frame.start, frame.rank, clock.now_s(), frame.service_port)
        if pid is None:
            peer.on_frame = lambda peer, frame: None  # its process is not needed: ignore its frames
            self.peers.send(peer, monitor_root.Dismiss())
        else:
            peer.title = f"the monitor of {self._job.processes[pid].title}"
            peer.on_frame, peer.gone = lambda _, frame: self.on_frame(pid, frame), lambda _: self.gone(pid)
            self.adopt(pid, peer, Decoder(process_root.TO_ROOT))
        self._do(actions)

    def adopt(self, pid: int, peer: ControlPeer, frames: Decoder, os_pid: int = 0) -> None:
        """Assign a monitor to a process, whose stream `frames` decodes; `os_pid` if it is running."""
        self._monitors[pid], self._rank_frames[pid], self._os_pids[pid] = peer, frames, os_pid

    def release(self, pid: int) -> None:
        """A process has no monitor any more: it has ended without leftovers."""
        self._part(pid)
        self._do(self._job.monitor_left(pid))

    def gone(self, pid: int) -> None:
        """The connection of the process's monitor has closed."""
        os_pid, process = self._part(pid), self._job.processes[pid]

        def lost() -> None:
            self._do(self._job.monitor_lost(pid, clock.now_s()))

        if process.status is None and os_pid:
            self.ending.when_ended(process.host, os_pid, lost)
        else:
            lost()

    def _part(self, pid: int) -> int:
        """Forget the monitor of a process; return the operating system's pid of the process."""
        del self._monitors[pid], self._rank_frames[pid]
        return self._os_pids.pop(pid)

    def on_frame(self, pid: int, frame: Any) -> None:
        """Handle a frame of the process's monitor. Raises: ProtocolError."""
        handler(self._handlers, frame)(pid, frame)

    def _started(self, pid: int, frame: monitor_root.ProcessStarted) -> None:
        self._os_pids[pid] = frame.os_pid

    def _output(self, pid: int, frame: monitor_root.Output) -> None:
        console = self._consoles.of(pid)
        console.stacks.moved()
        console.bridge.output(pid, frame.fd, frame.data)

    def _from_rank(self, pid: int, frame: monitor_root.FromRank) -> None:
        for inner in self._rank_frames[pid].feed(frame.data):
            self._rank_handlers.get(type(inner), self._for_job)(pid, inner)

    def _for_job(self, pid: int, frame: Any) -> None:
        self._do(self._job.from_rank(pid, frame, clock.now_s()))

    def _waits(self, pid: int, frame: Blocked | StillBlocked) -> None:
        console = self._consoles.of(pid)
        if console.order.check_deadlock and self._job.processes[pid].status is None:
            self._do(console.deadlock.on_frame(pid, frame, clock.now_s()))

    def _stacks(self, pid: int, frame: Stacks) -> None:
        text = frame.text.rstrip("\n")
        self._consoles.of(pid).say(f"stacks of {self._job.processes[pid].title}:\n{text}")

    def _exited(self, pid: int, frame: monitor_root.ProcessExited) -> None:
        lack = shared_memory_room.blame(frame.code, frame.signal, os.environ.get(environment.MPI, ""))
        verdict = "out of memory: the kernel killed it" if frame.by_kernel else lack
        status = ExitStatus(frame.code, frame.signal, verdict)
        self._job.used(pid, frame)
        self._do(self._job.exited(pid, status, clock.now_s(), frame.by_launcher))

    def _over_memory(self, pid: int, frame: monitor_root.OverMemory) -> None:
        self._do(self._job.over_memory(pid, frame))

    def _cannot_run(self, pid: int, frame: monitor_root.CannotRun) -> None:
        self._job.processes[pid].fault = f"could not be started: {frame.reason}"

    def _stdin_taken(self, pid: int, frame: monitor_root.StdinTaken) -> None:
        self._consoles.of(pid).feeder.taken(frame.nbytes)
