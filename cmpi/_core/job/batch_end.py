"""Decides whether a SIGTERM to cmpirun in a Slurm job came from Slurm, or was sent to cmpirun alone.

Slurm signals every process of the job, one after another. A process that got Slurm's signal must not get
another one from its monitor: a handler that raises SystemExit would raise it a second time, in the middle
of a `finally` block.
"""

from __future__ import annotations

from cmpi._core.job.kill_timers import SIGTERM

SLURM_WITHIN_S = 0.5  # if Slurm sent cmpirun's SIGTERM, monitors report theirs within this time


class BatchEnd:
    """Decides what the signals that reach cmpirun and the monitors mean. Time is an input.

    Args:
        in_batch_job: Whether the job is part of a Slurm job; otherwise cmpirun's signals count at once.
    """

    def __init__(self, in_batch_job: bool) -> None:
        self._in_batch_job = in_batch_job
        self._due_s: float | None = None
        self._slurm_was_first = False

    def by_cmpirun(self, signal: int, now_s: float, *, interrupted: bool) -> bool:
        """Note a signal to cmpirun. True if the job must end for it: not if it is already ending, or while
        the signal may be Slurm's.

        Args:
            signal: The signal.
            now_s: The time.
            interrupted: Whether the job is already being ended.
        """
        if self._slurm_was_first:
            self._slurm_was_first = False
            return False
        if self._in_batch_job and signal == SIGTERM and not interrupted and self._due_s is None:
            self._due_s = now_s + SLURM_WITHIN_S
            return False
        self._due_s = None
        return True

    def by_slurm(self, *, interrupted: bool) -> bool:
        """Note that a monitor got SIGTERM, so all processes got it. True if that is new and the job must
        end."""
        if interrupted:
            return False
        self._slurm_was_first = self._due_s is None
        self._due_s = None
        return True

    def tick(self, now_s: float) -> bool:
        """True if it is now clear that cmpirun alone got a SIGTERM, so that the job must end."""
        if self._due_s is None or now_s < self._due_s:
            return False
        self._due_s = None
        return True

    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        return self._due_s
