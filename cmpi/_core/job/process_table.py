"""The processes of the job by pid, their starts, and which of them have not reported yet."""

from __future__ import annotations

from cmpi._core.job.past import Past
from cmpi._core.job.process_record import Process
from cmpi._core.job.start_numbers import DEPLOYED, RANKS, SPAWNED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 60.0  # the longest wait for the next sign of processes that are being started


class ProcessTable:
    """The table. `seed` determines the first pid; any number, different for each job."""

    def __init__(self, seed: int) -> None:
        self.processes: dict[int, Process] = {}
        self.starts: dict[int, list[int]] = {}
        self._living: dict[int, Process] = {}
        self.past = Past(seed)
        self._not_over: dict[int, int] = {}  # by start: how many of its processes are not over
        self._next_start = {kind: kind for kind in (RANKS, SPAWNED, DEPLOYED)}
        # Processes whose monitor has not connected; for closures, those that have not joined.
        self._unheard: set[int] = set()
        # When one of them was last heard of; None: take the time at the next look.
        self._heard_s: float | None = None

    def new_start(self, kind: int) -> int:
        """The number of a new start of this kind: see `start_numbers`."""
        start = self._next_start[kind]
        self._next_start[kind] += 1
        self.starts[start] = []
        return start

    def add(self, parent: int, start: int, rank: int, label: str) -> Process:
        """Add a process, the last of its start."""
        pid = self.past.new_pid()
        process = self.processes[pid] = self._living[pid] = Process(pid, parent, start, rank, label)
        self.starts[start].append(pid)
        self._not_over[start] = self._not_over.get(start, 0) + 1
        if not self._unheard:
            self._heard_s = None
        self._unheard.add(pid)
        return process

    def monitored(self, process: Process, now_s: float) -> None:
        """Its monitor has connected. A rank need not join; a closure's process will."""
        process.monitored = True
        if process.is_rank:
            self._unheard.discard(process.pid)
        self._heard_s = now_s

    def joined(self, process: Process, now_s: float) -> None:
        """Note that the process has joined the job."""
        process.joined = True
        self._unheard.discard(process.pid)
        self._heard_s = now_s

    def ended(self, pid: int) -> None:
        """Take a process off the living; its status follows."""
        del self._living[pid]
        self._unheard.discard(pid)

    def over(self, process: Process, needed: Callable[[int], bool]) -> list[int]:
        """Note that an ended process will send nothing more; return the starts to `forget` now (see
        `Past`)."""
        if process.over or process.status is None:
            return []
        process.over = True
        self._not_over[process.start] -= 1
        if self._not_over[process.start]:
            return []
        del self._not_over[process.start]
        return self.past.over(process.start, len(self.starts[process.start]), needed)

    def forget(self, start: int) -> list[Process]:
        """Drop the records of a start, and return them."""
        gone = [self.processes.pop(pid) for pid in self.starts.pop(start)]
        for process in gone:
            assert process.status is not None
            self.past.forget(process.pid, process.status)
        return gone

    def alive(self, pid: int) -> bool:
        """Whether a process with this pid exists and has not ended."""
        return pid in self._living

    def living(self) -> list[Process]:
        """All processes that have not ended."""
        return list(self._living.values())

    @property
    def living_count(self) -> int:
        """How many processes have not ended."""
        return len(self._living)

    def overdue(self, now_s: float) -> list[int]:
        """The processes that will never report: MPI itself does not tell when it could not start one."""
        if self._unheard and self._heard_s is None:
            self._heard_s = now_s
        late = self._heard_s is not None and self._heard_s + START_S <= now_s
        return list(self._unheard) if late else []

    def deadline_s(self) -> float | None:
        """When some may be overdue."""
        return self._heard_s + START_S if self._unheard and self._heard_s is not None else None
