"""Decides which failures count for a program or a guest: those that no process has dealt with."""

from __future__ import annotations

from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.process_record import Process

MOST_KEPT = 100  # failures of a guest or program that are kept after many other processes have ended


class Failures:
    """The failed processes of a program in the order in which they ended.

    Args:
        strict: Failures count even if another process has dealt with them.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._failed: dict[int, Process] = {}
        self._by_launcher: dict[int, Process] = {}  # ended by MPI's launcher because others ended

    def ended(self, process: Process, by_launcher: bool) -> None:
        """Note that this process has failed."""
        (self._by_launcher if by_launcher else self._failed)[process.pid] = process

    def counts(self, process: Process) -> bool:
        """Whether the failure of this process counts for the program.

        The failure of a rank that cmpirun started always counts. That of a spawned process does not if a
        supervisor has started it, or if another process has received its end: from `wait`, as a notice, or
        as a PeerExited that it caught.
        """
        if process.is_rank:
            return True
        return not process.supervised and (self.strict or not process.looked_at_by)

    def needs(self, process: Process) -> bool:
        """Whether the final report may need this process: its failure counts, and is among the first of its
        guest."""
        if process.pid not in self._failed and process.pid not in self._by_launcher:
            return False
        return self.counts(process) and process in self.of(process.guest)[:MOST_KEPT]

    def forget(self, pid: int) -> None:
        """Drop this process from the list."""
        self._failed.pop(pid, None)
        self._by_launcher.pop(pid, None)

    def first(self, guest: int = NO_PID) -> Process | None:
        """The first failure that counts for this guest."""
        return next(iter(self.of(guest)), None)

    def of(self, guest: int) -> list[Process]:
        """The failures that count for this guest (NO_PID: for the job itself), in the order in which they
        ended; those that MPI's launcher ended come last."""
        failed = [*self._failed.values(), *self._by_launcher.values()]
        return [process for process in failed if process.guest == guest and self.counts(process)]
