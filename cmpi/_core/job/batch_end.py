"""Whose SIGTERM it is that cmpirun got in a Slurm job: Slurm's, or of somebody who signalled cmpirun alone.

Slurm sends it to every process in the job, one after another. A process that got it from there must not get
it from its monitor as well: Python's SystemExit, raised by a handler, would be raised a second time in the
midst of its `finally`.
"""

from __future__ import annotations

from cmpi._core.job.kill_timers import SIGTERM

SLURM_WITHIN_S = 0.5  # of cmpirun's SIGTERM, monitors tell of theirs, if it was Slurm's


class BatchEnd:
    """Tells, of what cmpirun and the monitors say, what is to be done; time comes in.

    Args:
        in_batch_job: Whether the job is in a Slurm job at all; else all that cmpirun says counts at once.
    """

    def __init__(self, in_batch_job: bool) -> None:
        self._in_batch_job = in_batch_job
        self._due_s: float | None = None
        self._slurm_was_first = False

    def by_cmpirun(self, signal: int, now_s: float, *, interrupted: bool) -> bool:
        """cmpirun got a signal. True if it counts now; it does not if it was heard of, or Slurm may follow.

        Args:
            signal: Which.
            now_s: The time.
            interrupted: Whether the job is being ended already.
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
        """A monitor got SIGTERM. True if that is new, and the job is to end; all processes got it."""
        if interrupted:
            return False
        self._slurm_was_first = self._due_s is None
        self._due_s = None
        return True

    def tick(self, now_s: float) -> bool:
        """True if cmpirun alone got a SIGTERM, and the job is to end by that now."""
        if self._due_s is None or now_s < self._due_s:
            return False
        self._due_s = None
        return True

    def deadline_s(self) -> float | None:
        """When `tick` is to be called."""
        return self._due_s
