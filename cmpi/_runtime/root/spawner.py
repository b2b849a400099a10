"""The root's thread that calls MPI_Comm_spawn, so that the root itself never blocks.

There is only one, although earlier prototypes were faster with four threads on Open MPI. With four, accepts
in one process ran at the same time as connects in another (the spawn completer), and Open MPI 5.0.11 hung
in about one of ten runs of 176 spawns. With one thread, no run hung, and the runs took no longer.
"""

from __future__ import annotations

import _thread
import os
import time
from _queue import SimpleQueue

from cmpi._core.job.job_actions import Launch
from cmpi._core.job.process_table import START_S
from cmpi._runtime import environment
from cmpi._runtime.programs import spawn_stub
from cmpi._transport import mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Spawner:
    """Starts processes on request, one start after another.

    Args:
        failed: Called, in the spawner's thread, with the number of a start that failed and the reason.
    """

    def __init__(self, failed: Callable[[int, str], None]) -> None:
        self._failed = failed
        self._spawn_queue: SimpleQueue[Launch | None] = SimpleQueue()
        self._running = True
        self._current = -1  # the number of the start in progress
        self._since_s: float | None = None  # when the start in progress began
        _thread.start_new_thread(self._run, ())

    def submit(self, launch: Launch) -> None:
        """Start these processes soon. Blocks: never."""
        self._spawn_queue.put(launch)

    @property
    def busy(self) -> bool:
        """Whether a start is in progress."""
        return self._since_s is not None

    def stuck(self, heard_s: float, now_s: float) -> str:
        """Why the start in progress and later ones are hopeless, or "".

        Hydra (MPICH) starts nothing any more, and MPI_Comm_spawn does not return, once the kernel has
        refused it a process.

        Args:
            heard_s: When a process that was being started last reported.
            now_s: The time now, by the same clock (`time.monotonic`).
        """
        since_s = self._since_s
        if since_s is None or now_s - max(since_s, heard_s) < START_S:
            return ""
        return (
            f"MPI's launcher on this host has stopped starting processes: an earlier MPI_Comm_spawn has "
            f"not returned in {now_s - since_s:.0f} s. The kernel may have refused it a process (ulimit -u)"
        )

    def drop(self) -> list[int]:
        """Drop the starts that wait; return their numbers."""
        dropped: list[int] = []
        while not self._spawn_queue.empty():
            launch = self._spawn_queue.get()
            dropped += [launch.start] if launch is not None else []
        return dropped

    def give_up(self) -> list[int]:
        """Drop the starts that wait and the one in progress, which is stuck; return their numbers."""
        return [self._current, *self.drop()]

    def _run(self) -> None:
        while (launch := self._spawn_queue.get()) is not None:
            self._current, self._since_s = launch.start, time.monotonic()
            server = [os.environ[environment.JOB] + "/fork"] if launch.forked else []
            try:
                mpi.spawn(spawn_stub(str(launch.start), *server), len(launch.pids), "")
            # Whatever it is: without this thread, later spawns would wait for ever.
            except Exception as error:
                self._failed(launch.start, str(error) or type(error).__name__)
            self._since_s = None
        self._running = False

    def close(self, timeout_s: float = 1.0) -> bool:
        """Wait for a spawn in progress to return, so that MPI can be finalized; False if it does not."""
        self._spawn_queue.put(None)
        end_s = time.monotonic() + timeout_s
        while self._running and time.monotonic() < end_s:
            time.sleep(0.001)
        return not self._running
