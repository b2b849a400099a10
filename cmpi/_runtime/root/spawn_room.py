"""Checks whether there is room for more processes: open files of MPI's launcher and of the root, and
processes.

MPI's launcher ends the whole job when it cannot open more files. Hydra (MPICH) cannot start anything any
more once the kernel has refused it a process.
"""

from __future__ import annotations

import os

from cmpi._runtime.linux import open_files, process_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class SpawnRoom:
    """The remainder of one limit: the amount measured last, minus what was taken since. It is measured
    again only when it is small.

    Args:
        look: Returns how much is left, and the limit. Raises OSError if that cannot be known.
        per_process: How much each process needs.
        margin: How much must remain.
        lack: The message if there is too little, with `{limit}`, `{left}` and `{margin}`.
        near: Look every time if no more than this is left, because others take from the limit, too.
    """

    def __init__(
        self, look: Callable[[], tuple[int, int]], per_process: int, margin: int, lack: str, near: int = 0
    ) -> None:
        self._look, self._per_process, self._margin, self._lack = look, per_process, margin, lack
        self._near, self._left = near, 0

    def forget(self) -> None:
        """Measure again the next time, because others have taken much."""
        self._left = 0

    def take(self, n: int, coming: int = 0) -> str:
        """Take what `n` processes need and return ""; or take nothing and return why that is impossible.

        `coming` other processes have been requested but not started: a look does not show what they will
        need.
        """
        needed = n * self._per_process + self._margin
        if self._left < needed + self._near:
            try:
                left, limit = self._look()
            except OSError:
                return ""  # it has ended, or may not be examined
            self._left = max(0, left - coming * self._per_process)
            if self._left < needed:
                return self._lack.format(limit=limit, left=self._left, margin=self._margin)
        self._left -= n * self._per_process
        return ""


def of_root() -> SpawnRoom:
    """The open files of this process, which is the root."""
    pid = os.getpid()
    return SpawnRoom(
        lambda: open_files.room(pid),
        1,
        8,
        "cmpi's root may open {limit} files, of which {left} are free; it needs one for each process, "
        "and {margin} must stay free. Run fewer processes at a time, or raise the hard limit (ulimit -Hn)",
    )


def of_host() -> list[SpawnRoom]:
    """The open files of MPI's launcher, which is this process's parent, and the processes on this host."""
    launcher = os.getppid()
    return [
        # Measured: PRRTE 3 (Open MPI 5.0.11) and Hydra (MPICH 5.0.2) hold 4 files for each live process
        # that uses MPI, and Hydra one for each that has ended; and some more for a moment while they start
        # a process.
        SpawnRoom(
            lambda: open_files.room(launcher),
            5,
            32,
            "MPI's launcher may open {limit} files, of which {left} are free; it needs 4 for each process "
            "(MPICH's keeps one of them when the process ends), and {margin} must stay free. Run fewer "
            "processes at a time, or raise the hard limit (ulimit -Hn)",
        ),
        # For the spawn stub, the monitor, the process and its progress thread.
        SpawnRoom(
            process_count.room,
            4,
            16,
            "you may have {limit} processes and threads on this host, of which {left} are free; each "
            "spawned process needs 4, and {margin} must stay free, for MPI's launcher must not be refused "
            "one. Run fewer processes at a time, or raise the limit (ulimit -u; in a container pids.max)",
            near=200,
        ),
    ]


def lack(rooms: list[SpawnRoom], n: int, coming: int = 0) -> str:
    """Take the room for `n` more processes and return ""; or return why they cannot be started. See
    `SpawnRoom.take`."""
    return next((why for room in rooms if (why := room.take(n, coming))), "")
