"""Notices the deaths of processes that MPI has started but that have not reported to the root yet.

MPI does not report a process that ends before MPI_Init, and MPI_Comm_spawn goes on waiting for it; and the
spawn completer may end before it has connected. Each process writes its file before that
(`linux/pid_files.py`), so the root can check it. Once a process has reported, its death is seen as the end
of its connection. (The fork server is a child of the process that starts it; see `ForkServerProcess`.)
"""

from __future__ import annotations

from cmpi._runtime.linux import pid_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 1.0  # between looks; most are heard of in a tenth of it


class Expected:
    """The list, of what `pid_files` calls them.

    Args:
        folder: The job's.
        announced: What processes there are and have been; `pid_files.announced`.
        runs: Whether one runs; `pid_files.runs`.
    """

    def __init__(
        self,
        folder: str,
        announced: Callable[[str], dict[int, str]] = pid_files.announced,
        runs: Callable[[int], bool] = pid_files.runs,
    ) -> None:
        self._folder, self._announced, self._runs = folder, announced, runs
        self._when_s: dict[str, float] = {}  # by what it is: when to look

    def __len__(self) -> int:
        """How many have not been heard of."""
        return len(self._when_s)

    @property
    def deadline_s(self) -> float | None:
        """When to call `ended` next."""
        return min(self._when_s.values(), default=None)

    def started(self, what: str, now_s: float) -> None:
        """It is to be heard of."""
        self._when_s[what] = now_s + LOOK_S

    def came(self, what: str) -> None:
        """It has been heard of, or nobody waits for it any more."""
        self._when_s.pop(what, None)

    def ended(self, now_s: float) -> list[tuple[str, str]]:
        """Return the processes that have ended unreported since the last call: what each is, and its port
        or ""."""
        due = [what for what, when_s in self._when_s.items() if when_s <= now_s]
        if not due:
            return []
        self._when_s |= dict.fromkeys(due, now_s + LOOK_S)
        ended = []
        for pid, text in self._announced(self._folder).items():
            what, _, port = text.partition("\n")
            if what in due and not self._runs(pid):
                self.came(what)
                ended.append((what, port))
        return sorted(ended)
