"""`Program`: the processes, failures and requested end of one program of a job."""

from __future__ import annotations

from cmpi._core.job.failures import Failures
from cmpi._core.job.usage import Usage
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.interruption import Interruption
    from cmpi._core.job.process_record import Process


class Program:
    """The job's own program, with guests and what these spawn; or a deployed program.

    Args:
        owner: The pid of the cmpirun that has deployed it; NO_PID: it is the job's own.
        start: The number of the start of its ranks.
        grace_s: The time between the first signal and SIGKILL, when the user ends it.
        strict: Failures count even if another process has dealt with them.
    """

    def __init__(self, owner: int, start: int, grace_s: float, strict: bool) -> None:
        self.owner, self.start, self.grace_s = owner, start, grace_s
        self.failures, self.usage = Failures(strict), Usage()  # of processes whose records are dropped
        self.members: dict[int, Process] = {}  # its processes that have not ended
        self.interruption: Interruption | None = None
        self.finished = False
        self.alone = True  # no process of another program can wake one of this program

    @property
    def deployed(self) -> bool:
        """Whether it was deployed into a running job."""
        return self.owner != NO_PID

    @property
    def code(self) -> int:
        """The exit code of its cmpirun, once all its processes have ended."""
        if self.interruption is not None:
            return self.interruption.code
        first = self.failures.first(self.owner)
        return 0 if first is None or first.status is None else first.status.code
