"""The root's thread that calls MPI_Comm_spawn, so that the root itself never blocks. It starts MPI first.

There is only one, although earlier prototypes were faster with four threads on Open MPI. With four, accepts
in one process ran at the same time as connects in another (the spawn completer), and Open MPI 5.0.11 hung
in about one of ten runs of 176 spawns. With one thread, no run hung, and the runs took no longer. Another
thread takes over only if a call will never return.
"""

from __future__ import annotations

import _thread
import os
import time
from _queue import SimpleQueue

from cmpi._core.job.job_actions import Launch
from cmpi._runtime import environment
from cmpi._runtime.programs import spawn_stub
from cmpi._runtime.root import spawning_mpi
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MPI_INIT = -1  # in place of the number of a start: the call is MPI_Init


class SpawnCall:
    """A call of MPI_Comm_spawn (or MPI_Init) in progress: the number of its start, and when it began."""

    def __init__(self, start: int) -> None:
        self.start, self.since_s = start, clock.now_s()
        self.abandoned = False  # another thread has taken over


class Spawner:
    """Starts processes on request, one start after another.

    Args:
        failed: Called, in the spawner's thread, with the number of a start that failed and the reason.
    """

    def __init__(self, failed: Callable[[int, str], None]) -> None:
        self._failed = failed
        self._spawn_queue: SimpleQueue[Launch | None] = SimpleQueue()
        self._lock = _thread.allocate_lock()  # for `call` and `abandoned`
        self._running = False
        self.call: SpawnCall | None = None
        self.abandoned = 0  # calls that have not returned
        self._mpi_fault = ""  # why MPI cannot be used
        self.initialized = False  # whether that is known

    def begin(self) -> None:
        """Start MPI; then requests are served. Blocks: never."""
        self._running = True
        self.call = SpawnCall(MPI_INIT)
        _thread.start_new_thread(self._begin, ())

    def submit(self, launch: Launch) -> None:
        """Start these processes as soon as possible. Blocks: never."""
        self._spawn_queue.put(launch)

    def drop(self) -> list[int]:
        """Drop the starts that wait; return their numbers."""
        dropped: list[int] = []
        while not self._spawn_queue.empty():
            launch = self._spawn_queue.get()
            dropped += [launch.start] if launch is not None else []
        return dropped

    def abandon(self, call: SpawnCall) -> bool:
        """Make the starts that wait in another thread, because this call will not return; False if it
        has."""
        with self._lock:
            if self.call is not call:
                return False
            call.abandoned, self.call = True, None
            self.abandoned += 1
        _thread.start_new_thread(self._run, ())
        return True

    def _begin(self) -> None:
        self._mpi_fault = spawning_mpi.start()
        self.call, self.initialized = None, True
        self._run()

    def _run(self) -> None:
        while (launch := self._spawn_queue.get()) is not None:
            self.call = call = SpawnCall(launch.start)
            fault = self._mpi_fault or _spawn(launch)
            with self._lock:
                if call.abandoned:
                    self.abandoned -= 1
                    return
                self.call = None
            if fault:
                self._failed(launch.start, fault)
        self._running = False

    def close(self, timeout_s: float = 1.0) -> bool:
        """Wait for a spawn in progress to return, so that MPI can be finalized; False if one does not."""
        self._spawn_queue.put(None)
        end_s = clock.now_s() + timeout_s
        while (self._running or self.abandoned) and clock.now_s() < end_s:
            time.sleep(0.001)
        return not (self._running or self.abandoned)


def _spawn(launch: Launch) -> str:
    """Call MPI_Comm_spawn; returns "", or why it failed. Blocks: see `mpi.spawn`."""
    from cmpi._transport import mpi

    server = [os.environ[environment.JOB] + "/fork"] if launch.forked else []
    try:
        mpi.spawn(spawn_stub(str(launch.start), *server), len(launch.pids), "")
    # Whatever it is: without the thread that calls this, later spawns would wait for ever.
    except Exception as error:
        return str(error) or type(error).__name__
    return ""
