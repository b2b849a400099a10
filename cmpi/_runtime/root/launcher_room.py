"""Whether MPI's launcher can take more processes: it ends the whole job when it runs out of descriptors."""

from __future__ import annotations

import os

from cmpi._runtime.linux import open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Measured: PRRTE 3 (Open MPI 5.0.11) and Hydra (MPICH 5.0.2) hold 4 for each live process, and Hydra one
# for each that has ended.
PER_PROCESS = 5
MARGIN = 32  # for what the launcher opens for a moment while it starts something


class LauncherRoom:
    """What is left of the descriptors of this process's parent. Looks only when it may be little.

    Args:
        look: Tells how many more files a process can open, and its limit.
    """

    def __init__(self, look: Callable[[int], tuple[int, int]] = open_files.room) -> None:
        self._look, self._launcher = look, os.getppid()
        self._left = 0

    def lacks(self, n: int) -> str:
        """Why `n` more processes cannot be started; "" if they can, and are about to be."""
        needed = n * PER_PROCESS
        if self._left - needed < MARGIN:
            try:
                self._left, limit = self._look(self._launcher)
            except OSError:
                return ""  # it has ended, or its files are not for us to see
            if self._left - needed < MARGIN:
                return (
                    f"MPI's launcher may have {limit} files open, {max(0, self._left)} more than now, and "
                    "needs 4 for each process (MPICH's keeps one of them when the process ends). "
                    "Have fewer processes at a time, or raise the hard limit (ulimit -Hn)"
                )
        self._left -= needed
        return ""
