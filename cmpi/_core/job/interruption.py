"""The end of a job at the request of the user or a batch system: signals, time limits, exit code."""

from __future__ import annotations

from cmpi._core.job.kill_timers import SIGINT, escalation

GIVE_UP_AFTER_S = 1.0  # after SIGKILL, before cmpirun stops waiting
NOTICE_AFTER_S = 1.0  # after this, cmpirun says which processes it waits for
MOST_NAMES = 4


class Interruption:
    """One requested end.

    Args:
        signal: The signal that cmpirun got.
        code: cmpirun's exit code.
        grace_s: The time between the first signal to the processes and SIGKILL.
        now_s: When it began.
        by_slurm: Whether Slurm has sent the signal to all processes.
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
        """The user has asked again: use SIGKILL, and if that was done, stop waiting."""
        self.give_up_s, self._notice_s = now_s + GIVE_UP_AFTER_S, None

    def notice(self, now_s: float, names: list[str]) -> str:
        """The message for the user, once, when it is due; `names` are the processes that have not ended."""
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
        return f"waiting after {what} for {who} to end; {then}; Ctrl-C again kills them now"

    def deadline_s(self) -> float:
        """When the next step is due."""
        return self.give_up_s if self._notice_s is None else min(self._notice_s, self.give_up_s)
