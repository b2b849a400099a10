"""Which failures are the job's, or a guest's: those that no process of the job has looked at."""

from __future__ import annotations

from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.process_record import Process


class Failures:
    """The failed processes in the order in which they ended.

    Args:
        strict: A failure counts though another process has looked at it.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._failed: list[Process] = []
        self._by_launcher: list[Process] = []  # MPI's launcher ended them, because of others

    def ended(self, process: Process, by_launcher: bool) -> None:
        """This process has ended, and not well."""
        (self._by_launcher if by_launcher else self._failed).append(process)

    def counts(self, process: Process) -> bool:
        """Whether the failure of this process is the job's.

        A rank that cmpirun started always counts. A spawned process does not if a supervisor has started
        it, or if another process has received its end: from `wait`, as a notice, as a PeerExited that it
        caught.
        """
        if process.is_rank:
            return True
        return not process.supervised and (self.strict or not process.looked_at_by)

    def first(self, guest: int = NO_PID) -> Process | None:
        """The first of those `of` this guest."""
        return next(iter(self.of(guest)), None)

    def of(self, guest: int) -> list[Process]:
        """Those that count for this guest; NO_PID: for the job itself. In the order in which they ended."""
        failed = [*self._failed, *self._by_launcher]
        return [process for process in failed if process.guest == guest and self.counts(process)]
