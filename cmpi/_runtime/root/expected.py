"""Notices the deaths of processes that MPI has started but that have not reported to the root yet.

MPI does not report a process that ends before MPI_Init, and MPI_Comm_spawn goes on waiting for it. The
spawn completer may also end before it has connected. Each process writes its file before that
(`linux/pid_files.py`), so the root can check it. Once a process has reported, its death is seen as the end
of its connection. (The fork server is a child of the process that starts it; see `ForkServerProcess`.)
"""

from __future__ import annotations

from cmpi._runtime.linux import pid_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 1.0  # between looks; most processes report in a tenth of this


class Expected:
    """The processes that are expected to report, by their descriptions in `pid_files`.

    Args:
        folder: The job's folder.
        announced: Returns the descriptions of processes; `pid_files.announced`.
        runs: Whether a process is running; `pid_files.runs`.
    """

    def __init__(
        self,
        folder: str,
        announced: Callable[[str], dict[int, str]] = pid_files.announced,
        runs: Callable[[int], bool] = pid_files.runs,
    ) -> None:
        self._folder, self._announced, self._runs = folder, announced, runs
        self._when_s: dict[str, float] = {}  # by description: when to look for it
        self.heard_s = 0.0  # when one last reported

    def __len__(self) -> int:
        """How many have not reported."""
        return len(self._when_s)

    @property
    def deadline_s(self) -> float | None:
        """When to call `ended` next."""
        return min(self._when_s.values(), default=None)

    def started(self, what: str, now_s: float) -> None:
        """A process was started, and is expected to report."""
        self._when_s[what] = now_s + LOOK_S

    def came(self, what: str, now_s: float) -> None:
        """The process has reported."""
        self.heard_s = now_s
        self._when_s.pop(what, None)

    def forget(self, start: int) -> None:
        """This start was given up: its processes are not expected any more."""
        for what in [what for what in self._when_s if pid_files.start_number(what) == start]:
            del self._when_s[what]

    def ended(self, now_s: float) -> list[tuple[str, str]]:
        """Return the processes that have ended unreported since the last call: the description of each, and
        its port or ""."""
        due = [what for what, when_s in self._when_s.items() if when_s <= now_s]
        if not due:
            return []
        self._when_s |= dict.fromkeys(due, now_s + LOOK_S)
        ended = []
        for pid, text in self._announced(self._folder).items():
            what, _, port = text.partition("\n")
            if what in due and not self._runs(pid):
                del self._when_s[what]
                ended.append((what, port))
        return sorted(ended)
