"""Decides what to remember of ended processes, of which a job may have very many.

A process that has ended, and of which nothing more will be heard, keeps its record for a while; of those
that ended longest ago only how they ended is kept, and of still more only of those that failed. So the
memory of a job does not grow with the number of its processes.
"""

from __future__ import annotations

from collections import deque

from cmpi.identifiers import PID_BITS, RAISED, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST_RECORDS = 1000  # of processes that have ended
MOST_STATUSES = 10_000  # of processes without a record that have not ended by code 0
AT_A_TIME = 2  # starts that are looked at for each that ends: more than come, so none are left behind
NEVER = ExitStatus(RAISED, 0, "there is no such process in this job")
UNKNOWN = ExitStatus(RAISED, 0, "it ended so long ago that the job does not know any more how")

_MASK = (1 << PID_BITS) - 1
_FACTOR = 0x9E3779B1  # odd, so it permutes the numbers below 2**28: pids look different, and never repeat
_INVERSE = pow(_FACTOR, -1, 1 << PID_BITS)


class Past:
    """The memory. `seed` is where the pids start; any number, another for each job."""

    def __init__(self, seed: int) -> None:
        self._seed, self.born = seed, 0  # how many processes there have been
        self._statuses: dict[int, ExitStatus] = {}  # by pid
        self._vague = 0  # of this many processes, the first, nothing is known without a status
        self._starts: deque[tuple[int, int]] = deque()  # all over, the oldest first; how many processes
        self._records = 0

    def new_pid(self) -> int:
        """The pid of one more process."""
        self.born += 1
        return ((self._seed + self.born - 1) * _FACTOR) & _MASK

    def _number(self, pid: int) -> int:
        """Which process in the order of their births has this pid, counted from 0."""
        return (pid * _INVERSE - self._seed) & _MASK

    def has_been(self, pid: int) -> bool:
        """Whether there is, or was, such a process."""
        return self._number(pid) < self.born

    def status(self, pid: int) -> ExitStatus:
        """How a process that has no record ended, as far as that is known."""
        if not self.has_been(pid):
            return NEVER
        if pid in self._statuses:
            return self._statuses[pid]
        return UNKNOWN if self._number(pid) < self._vague else ExitStatus(0)

    def over(self, start: int, processes: int, needed: Callable[[int], bool]) -> list[int]:
        """All processes of a start are over; the starts whose records are to be forgotten now.

        Args:
            start: Which one.
            processes: How many it has.
            needed: Whether the records of a start are to be kept all the same.
        """
        self._starts.append((start, processes))
        self._records += processes
        forgotten: list[int] = []
        for _ in range(AT_A_TIME):
            if self._records <= MOST_RECORDS:
                break
            oldest, count = self._starts.popleft()
            if needed(oldest):
                self._starts.append((oldest, count))
            else:
                self._records -= count
                forgotten.append(oldest)
        return forgotten

    def forget(self, pid: int, status: ExitStatus) -> None:
        """The record of a process goes; this is how it ended."""
        if status == ExitStatus(0):
            return
        self._statuses[pid] = status
        if len(self._statuses) > MOST_STATUSES:
            oldest = next(iter(self._statuses))
            del self._statuses[oldest]
            self._vague = max(self._vague, self._number(oldest) + 1)
