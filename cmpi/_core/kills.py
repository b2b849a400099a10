"""Who is to be killed, and when."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KILL_AFTER_S = 1.0  # between SIGTERM and SIGKILL
LINKING_S = 1.0  # for a link to be made before a process that a program wants killed is killed


class Kills:
    """The list. `linking` says of a process whether a link with it is being made."""

    def __init__(self, linking: Callable[[int], bool]) -> None:
        self._linking = linking
        self._later: list[tuple[float, int]] = []
        self._held: dict[int, float] = {}

    def later(self, pid: int, now_s: float) -> None:
        """It was told to end: for good, unless it does."""
        self._later.append((now_s + KILL_AFTER_S, pid))

    def hold(self, pid: int, now_s: float) -> None:
        """As soon as its link stands, or then."""
        self._held[pid] = now_s + LINKING_S

    def due(self, now_s: float) -> list[int]:
        """Those who did not end."""
        due = [pid for when_s, pid in self._later if when_s <= now_s]
        self._later = [item for item in self._later if item[0] > now_s]
        return due

    def released(self, now_s: float) -> list[int]:
        """Those who were held."""
        due = [pid for pid, when_s in self._held.items() if when_s <= now_s or not self._linking(pid)]
        for pid in due:
            del self._held[pid]
        return due

    def deadline_s(self) -> float | None:
        """When somebody may be due."""
        return min([*(when_s for when_s, _ in self._later), *self._held.values()], default=None)
