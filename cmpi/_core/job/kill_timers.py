"""The processes that were told to end, and the signals that follow if they do not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SIGINT, SIGKILL, SIGTERM = 2, 9, 15
KILL_AFTER_S = 1.0  # between SIGTERM and SIGKILL, if there is no grace period
GRACE_S = 10.0  # between the first signal and SIGKILL, when the user ends the job
KILL_SOON = ((KILL_AFTER_S, SIGKILL),)


def escalation(signal: int, grace_s: float) -> list[tuple[float, int]]:
    """The signals that make a process end, each with its time in seconds from now.

    If `signal` is SIGINT, that comes first: a Python program raises KeyboardInterrupt, and its `except`,
    `finally`, `with` and exit handlers run. They have half of the grace period.
    """
    if signal == SIGINT:
        return [(0.0, SIGINT), (grace_s / 2, SIGTERM), (grace_s, SIGKILL)]
    return [(0.0, SIGTERM), (grace_s, SIGKILL)]


class KillTimers:
    """The processes that were told to end, with the signals still due."""

    def __init__(self) -> None:
        self._later: list[tuple[float, int, int]] = []

    def later(self, pid: int, now_s: float, signals: Sequence[tuple[float, int]] = KILL_SOON) -> None:
        """Note that this process was told to end, and the signals to send later if it does not."""
        self._later += [(now_s + after_s, pid, signal) for after_s, signal in signals]

    def due(self, now_s: float) -> list[tuple[int, int]]:
        """The processes to signal now, with the signals."""
        due = [(pid, signal) for when_s, pid, signal in self._later if when_s <= now_s]
        self._later = [item for item in self._later if item[0] > now_s]
        return due

    def deadline_s(self) -> float | None:
        """When a signal is due."""
        return min((when_s for when_s, _, _ in self._later), default=None)
