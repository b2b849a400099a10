"""Who was told to end, and is to be killed if it does not."""

from __future__ import annotations

KILL_AFTER_S = 1.0  # between SIGTERM and SIGKILL


class KillTimers:
    """The list."""

    def __init__(self) -> None:
        self._later: list[tuple[float, int]] = []

    def later(self, pid: int, now_s: float) -> None:
        """It was told to end: for good, unless it does."""
        self._later.append((now_s + KILL_AFTER_S, pid))

    def due(self, now_s: float) -> list[int]:
        """Those who did not end."""
        due = [pid for when_s, pid in self._later if when_s <= now_s]
        self._later = [item for item in self._later if item[0] > now_s]
        return due

    def deadline_s(self) -> float | None:
        """When somebody may be due."""
        return min((when_s for when_s, _ in self._later), default=None)
