"""Whether there are descriptors for more processes: MPI's launcher ends the whole job when it runs out of
them, and the root takes in no monitor."""

from __future__ import annotations

import os

from cmpi._runtime.linux import open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Measured: PRRTE 3 (Open MPI 5.0.11) and Hydra (MPICH 5.0.2) hold 4 for each live process that uses MPI,
# and Hydra one for each that has ended.
PER_PROCESS = 5
MARGIN = 32  # for what the launcher opens for a moment while it starts something
ROOTS_MARGIN = 8
NEEDS_OF_LAUNCHER = "4 for each process (MPICH's keeps one of them when the process ends)"


class LauncherRoom:
    """What is left of the descriptors of this process's parent, and of its own. Looks only when it may be
    little.

    Args:
        look: Tells how many more files a process can open, and its limit.
    """

    def __init__(self, look: Callable[[int], tuple[int, int]] = open_files.room) -> None:
        self._look = look
        self._rooms = [
            ("MPI's launcher", NEEDS_OF_LAUNCHER, _Room(os.getppid(), PER_PROCESS, MARGIN)),
            ("cmpi's root", "one for each process", _Room(os.getpid(), 1, ROOTS_MARGIN)),
        ]

    def lacks(self, n: int) -> str:
        """Why `n` more processes cannot be started; "" if they can, and are about to be."""
        for who, needs, room in self._rooms:
            if not room.take(n, self._look):
                return (
                    f"{who} may have {room.limit} files open, {room.left} more than now; it needs {needs}. "
                    "Have fewer processes at a time, or raise the hard limit (ulimit -Hn)"
                )
        return ""


class _Room:
    """The descriptors that one process has left, as of the last look, less what was taken since."""

    def __init__(self, pid: int, per_process: int, margin: int) -> None:
        self._pid, self._per_process, self._margin = pid, per_process, margin
        self.left = self.limit = 0

    def take(self, n: int, look: Callable[[int], tuple[int, int]]) -> bool:
        """Take what `n` more processes need; False, and nothing is taken, if there is not so much."""
        needed = n * self._per_process + self._margin
        if self.left < needed:
            try:
                self.left, self.limit = look(self._pid)
            except OSError:
                return True  # it has ended, or its files are not for us to see
            self.left = max(0, self.left)
            if self.left < needed:
                return False
        self.left -= n * self._per_process
        return True
