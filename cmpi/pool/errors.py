"""The errors of a pool itself."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from cmpi.errors import CmpiError
from cmpi.identifiers import ExitStatus, Pid


class WorkerDied(CmpiError, BrokenProcessPool):
    """The process that ran this task has ended; other tasks are not affected.

    Attributes:
        pid: The worker that ran the task last.
        status: How it ended, with cmpi's verdict (signal, out of memory, host lost).
        deaths: How many workers have ended while they ran this task.
    """

    def __init__(self, pid: Pid, status: ExitStatus, deaths: int = 1, what: str = "the task") -> None:
        self.pid, self.status, self.deaths = pid, status, deaths
        times = f"; {what} has ended {deaths} workers and is not tried again" if deaths > 1 else ""
        super().__init__(f"worker {pid} ended while it ran {what}: {status}{times}")


class TaskKilled(CmpiError):
    """The task was ended by `future.kill()`."""


class PoolBroken(CmpiError, BrokenProcessPool):
    """No worker could be started, three times in a row; the cause is the last initializer's exception."""
