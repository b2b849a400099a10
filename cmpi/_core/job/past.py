"""Decides what to remember of ended processes, of which a job may have very many.

A process that is over keeps its full record for a while. Later only its exit status is kept, and in the end
only the statuses of failed processes. So a job's memory does not grow with the number of its processes.
"""

from __future__ import annotations

from collections import deque

from cmpi.identifiers import PID_BITS, RAISED, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST_RECORDS = 1000  # of processes that have ended
MOST_STATUSES = 10_000  # of processes without a record that have not ended by code 0
AT_A_TIME = 2  # starts examined for each that ends: more than are added, so none are left behind
NEVER = ExitStatus(RAISED, 0, "there is no such process in this job")
UNKNOWN = ExitStatus(RAISED, 0, "it ended so long ago that the job does not know any more how")

_MASK = (1 << PID_BITS) - 1
_FACTOR = 0x9E3779B1  # odd, so it permutes the numbers below 2**28: pids look different, and never repeat
_INVERSE = pow(_FACTOR, -1, 1 << PID_BITS)


class Past:
    """Numbers processes and remembers how they ended. `seed` determines the first pid; any number,
    different for each job."""

    def __init__(self, seed: int) -> None:
        self._seed, self.born = seed, 0  # how many processes there have been
        self._statuses: dict[int, ExitStatus] = {}  # by pid
        self._vague = 0  # the first this many processes: nothing is known of those without a status
        self._starts: deque[tuple[int, int]] = deque()  # all over, oldest first: start, processes
        self._records = 0

    def new_pid(self) -> int:
        """Return the pid of a new process."""
        self.born += 1
        return ((self._seed + self.born - 1) * _FACTOR) & _MASK

    def _number(self, pid: int) -> int:
        """The position of a pid in the order of births, counted from 0."""
        return (pid * _INVERSE - self._seed) & _MASK

    def has_been(self, pid: int) -> bool:
        """Whether a process with this pid exists or has existed."""
        return self._number(pid) < self.born

    def status(self, pid: int) -> ExitStatus:
        """How a process without a record ended, as far as that is known."""
        if not self.has_been(pid):
            return NEVER
        if pid in self._statuses:
            return self._statuses[pid]
        return UNKNOWN if self._number(pid) < self._vague else ExitStatus(0)

    def over(self, start: int, processes: int, needed: Callable[[int], bool]) -> list[int]:
        """Note that all processes of a start are over; return the starts whose records must be dropped now.

        Args:
            start: Its number.
            processes: How many processes it has.
            needed: Whether the records of a start must be kept all the same.
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
        """Keep only the exit status of a process whose record is dropped."""
        if status == ExitStatus(0):
            return
        self._statuses[pid] = status
        if len(self._statuses) > MOST_STATUSES:
            oldest = next(iter(self._statuses))
            del self._statuses[oldest]
            self._vague = max(self._vague, self._number(oldest) + 1)
