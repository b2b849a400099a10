"""When to start the fabric agents' world again after it has fallen. Pure."""

from __future__ import annotations

PAUSE_S = 0.5  # before the next start; doubled with every failure
LONG_S = 10.0  # a world that has lived so long was no failure
MOST_FAILURES = 4  # in a row: then the job does without


class Revival:
    """The starts of one job's worlds. Times are those of any clock that never goes back."""

    def __init__(self) -> None:
        self._started_s, self._failures = 0.0, 0

    def started(self, now_s: float) -> None:
        """A world is started."""
        self._started_s = now_s

    def fell(self, now_s: float) -> float | None:
        """The world has ended; returns when to start the next one, None: never."""
        if now_s - self._started_s >= LONG_S:
            self._failures = 0
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            return None
        pause_s: float = PAUSE_S * 2 ** (self._failures - 1)
        return now_s + pause_s
