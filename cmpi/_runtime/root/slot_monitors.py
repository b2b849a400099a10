"""The monitors of slots: carries out the decisions of `SlotTable`."""

from __future__ import annotations

from functools import partial

from cmpi._core.job import slots
from cmpi._core.job.job_actions import Launch
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.wire import Decoder
from cmpi._runtime.linux import memory_usage
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
    from cmpi._runtime.root.monitor_table import MonitorTable

ROOM_BYTES = 512 << 20  # of memory that must be free on this host before spare processes are made


class _Monitor:
    """The monitor of one slot."""

    def __init__(self, peer: ControlPeer) -> None:
        self.peer = peer
        self.pid: int | None = None  # of the job's process in the slot, if there is one
        self.os_pid = 0  # of the process that runs there
        self.frames = Decoder(process_root.TO_ROOT)  # of a process without a closure
        self.joins: list[Any] = []  # its frames, which ask to join


class SlotMonitors:
    """All monitors of slots. Nothing blocks.

    Args:
        job: The job machine. It learns that a process has joined once the process has a closure.
        monitors: Handles the frames of a slot's monitor while the slot runs a process of the job.
        launch: Has MPI start processes.
        do: Carries out actions.
    """

    def __init__(
        self,
        job: JobMachine,
        monitors: MonitorTable,
        launch: Callable[[Launch], None],
        do: Callable[[list[Any]], None],
    ) -> None:
        self._job, self._table_of_monitors, self._launch, self._do = job, monitors, launch, do
        self.peers: ControlPeers
        self._table = slots.SlotTable()
        self._monitors: dict[int, _Monitor] = {}  # by slot
        self._carry_out: dict[type, Callable[[Any], None]] = {
            slots.OrderSlot: lambda it: self._launch(Launch(it.number, [0], it.host, True)),
            slots.ForkInSlot: lambda it: self._tell(it.number, monitor_root.ForkNext()),
            slots.Bind: lambda it: self._bind(it.number, it.start),
            slots.Retire: lambda it: self._tell(it.number, monitor_root.Dismiss()),
            slots.FailStart: lambda it: self._fail(it.start, it.reason),
        }

    def __len__(self) -> int:
        return len(self._monitors)

    # -- what the root tells ---------------------------------------------------------------

    def want(self, start: int, host: str) -> None:
        """A closure is to run in a slot of this host."""
        self._act(self._table.want(start, host, clock.now_s()))

    def withdraw(self, start: int) -> None:
        """The process of this start is not needed any more, or has ended."""
        self._table.withdraw(start)

    def host(self, number: int) -> str | None:
        """The host of a slot."""
        return self._table.host(number)

    def failed(self, number: int, reason: str) -> None:
        """A slot could not be made."""
        self._act(self._table.gone(number, reason))

    def preloaded(self) -> None:
        """Fork servers were told to load modules."""
        self._act(self._table.preloaded())

    def fork_server_ended(self, host: str) -> None:
        """A host's fork server has ended: start the waiting processes without it."""
        waiting, actions = self._table.server_ended(host)
        self._act(actions)
        for start in waiting:
            self._launch(Launch(start, self._job.starts[start], host, False))

    def host_lost(self, host: str) -> None:
        """A host is out of reach."""
        self._table.host_lost(host)

    @property
    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        return self._table.deadline_s()

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        deadline_s = self._table.deadline_s()
        if deadline_s is not None and deadline_s <= now_s:
            self._act(self._table.tick(now_s, room=memory_usage.available_bytes() >= ROOM_BYTES))

    def close(self) -> None:
        """The job is over."""
        self._act(self._table.close())

    # -- what monitors say -----------------------------------------------------------------

    def take_in(self, peer: ControlPeer, frame: monitor_root.MonitorUp) -> None:
        """The monitor of a slot reports."""
        number = frame.start
        peer.title = "the monitor of a slot"
        if frame.ahead and number not in self._monitors:
            peer.on_frame, peer.gone = partial(self._on_frame, number), lambda _: self._gone(number)
            self._monitors[number] = _Monitor(peer)
            self._act(self._table.monitored(number))
            return
        # There is no fork server any more; or the slot's monitor was killed, and this one finishes its
        # work.
        peer.on_frame = lambda peer, frame: None
        self.peers.send(peer, monitor_root.Dismiss())
        if number not in self._monitors:
            self._act(self._table.gone(number))

    def _gone(self, number: int) -> None:
        pid = self._monitors.pop(number).pid
        if pid is not None:
            self._table_of_monitors.gone(pid)
        self._act(self._table.gone(number))

    def _on_frame(self, number: int, _: ControlPeer, frame: Any) -> None:
        monitor = self._monitors[number]
        if isinstance(frame, monitor_root.SlotIdle):
            if monitor.pid is not None:
                self._table_of_monitors.release(monitor.pid)
            monitor.pid, monitor.joins = None, []
            monitor.frames = Decoder(process_root.TO_ROOT)
            self._act(self._table.idle(number, frame.fault))
        elif monitor.pid is not None:
            self._table_of_monitors.on_frame(monitor.pid, frame)
        elif isinstance(frame, monitor_root.ProcessStarted):
            monitor.os_pid = frame.os_pid
        elif isinstance(frame, monitor_root.FromRank):
            monitor.joins += monitor.frames.feed(frame.data)
            self._act(self._table.joined(number) if monitor.joins else [])
        # Its other frames concern a process that was never used.

    # -- what the table decides ------------------------------------------------------------

    def _act(self, actions: list[Any]) -> None:
        for action in actions:
            self._carry_out[type(action)](action)

    def _tell(self, number: int, frame: Any) -> None:
        if number in self._monitors:
            self.peers.send(self._monitors[number].peer, frame)

    def _bind(self, number: int, start: int) -> None:
        monitor, now_s = self._monitors[number], clock.now_s()
        pid, actions = self._job.monitor_up(start, 0, now_s)
        if pid is None:  # nobody needs it any more
            self._do(actions)
            self._act(self._table.taken_again(number))
            return
        monitor.pid, monitor.peer.title = pid, f"the monitor of {self._job.processes[pid].title}"
        self._table_of_monitors.adopt(pid, monitor.peer, monitor.frames, monitor.os_pid)
        self._do(actions)
        for frame in monitor.joins:
            self._do(self._job.from_rank(pid, frame, now_s))

    def _fail(self, start: int, reason: str) -> None:
        self._do(self._job.start_failed(start, reason, clock.now_s()))
