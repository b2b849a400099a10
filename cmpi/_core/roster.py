"""Who is in the job: its processes by pid, their starts, and which of them have not reported yet."""

from __future__ import annotations

from cmpi._core.process import Process
from cmpi._ids import PID_BITS

START_S = 60.0  # for the next of the processes that are being started to report


class Roster:
    """The list. `seed` is where the pids start; any number, another for each job."""

    def __init__(self, seed: int) -> None:
        self.processes: dict[int, Process] = {}
        self.starts: dict[int, list[int]] = {}
        self.living_count = 0
        self._seed = seed
        self._unreported: set[int] = set()  # started, and no monitor of theirs has been heard of
        self._seen_s: float | None = None  # when the last of them was; None: look at the clock

    def add(self, parent: int, start: int, rank: int, label: str) -> Process:
        """A new process."""
        # An odd multiplier permutes the numbers below 2**28: pids look different, never repeat.
        mask = (1 << PID_BITS) - 1
        pid = ((self._seed + len(self.processes)) * 0x9E3779B1) & mask
        self.living_count += 1
        process = self.processes[pid] = Process(pid, parent, start, rank, label)
        if not self._unreported:
            self._seen_s = None
        self._unreported.add(pid)
        return process

    def reported(self, pid: int, now_s: float) -> None:
        """Its monitor has."""
        self._unreported.discard(pid)
        self._seen_s = now_s

    def ended(self, pid: int) -> None:
        """It is to have a status now."""
        self.living_count -= 1
        self._unreported.discard(pid)

    def alive(self, pid: int) -> bool:
        """Whether there is such a process, and it has not ended."""
        return pid in self.processes and self.processes[pid].status is None

    def living(self) -> list[Process]:
        """All that have not ended."""
        return [process for process in self.processes.values() if process.status is None]

    def overdue(self, now_s: float) -> list[int]:
        """Those of which nothing will be heard any more, for MPI itself never says that it cannot."""
        if self._unreported and self._seen_s is None:
            self._seen_s = now_s
        late = self._seen_s is not None and self._seen_s + START_S <= now_s
        return list(self._unreported) if late else []

    def deadline_s(self) -> float | None:
        """When some may be overdue."""
        return self._seen_s + START_S if self._unreported and self._seen_s is not None else None
