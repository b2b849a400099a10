"""The end of a job that the user, or a batch system, has asked for: its signals, its limits, its code."""

from __future__ import annotations

from cmpi._core.job.kill_timers import SIGINT, escalation

GIVE_UP_AFTER_S = 1.0  # between SIGKILL and going on without an answer
NOTICE_AFTER_S = 1.0  # before the user is told for whom cmpirun waits
MOST_NAMES = 4


class Interruption:
    """One such end.

    Args:
        signal: The one that cmpirun got.
        code: cmpirun's exit code.
        grace_s: Between the first signal to the processes and SIGKILL.
        now_s: When it began.
        by_slurm: Slurm has sent the signal to all processes.
    """

    def __init__(
        self, signal: int, code: int, grace_s: float, now_s: float, *, by_slurm: bool = False
    ) -> None:
        self.by_slurm = by_slurm
        self.signal, self.code, self.grace_s = signal, code, grace_s
        (_, self.first), *self.later = escalation(signal, grace_s)
        self.give_up_s = now_s + grace_s + GIVE_UP_AFTER_S
        self._began_s = now_s
        self._notice_s: float | None = now_s + NOTICE_AFTER_S if grace_s > NOTICE_AFTER_S else None

    def hurry(self, now_s: float) -> None:
        """The user has asked again: SIGKILL, and no patience after that."""
        self.give_up_s, self._notice_s = now_s + GIVE_UP_AFTER_S, None

    def notice(self, now_s: float, names: list[str]) -> str:
        """What to tell the user, once, if it is time for that; `names` are those that have not ended."""
        if self._notice_s is None or self._notice_s > now_s:
            return ""
        self._notice_s = None
        if not names:
            return ""
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        what = {2: "SIGINT", 15: "SIGTERM"}.get(self.first, "")
        left = self._began_s + self.grace_s - now_s
        then = f"SIGKILL follows in {left:.0f} s"
        if self.first == SIGINT:
            then = f"SIGTERM follows in {max(0.0, left - self.grace_s / 2):.0f} s, {then}"
        who = f"{', '.join(names[:MOST_NAMES])}{more}"
        return f"waits for the end, after {what}, of {who}; {then}; Ctrl-C again ends them now"

    def deadline_s(self) -> float:
        """When something is due."""
        return self.give_up_s if self._notice_s is None else min(self._notice_s, self.give_up_s)
