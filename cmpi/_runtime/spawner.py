"""Threads of the root that sit in MPI_Comm_spawn, so that the root itself never blocks."""

from __future__ import annotations

import _thread
import sys
import time
from _queue import SimpleQueue

from cmpi._core.job import Launch
from cmpi._transport import mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Open MPI gains from spawns side by side (0.65 of the time with 4), MPICH does not.
THREADS = {"openmpi": 4}


class Spawner:
    """Starts processes on request.

    Args:
        failed: Called, in another thread, with the number of a start and the reason why not.
    """

    def __init__(self, failed: Callable[[int, str], None]) -> None:
        self._failed = failed
        self._requests: SimpleQueue[Launch | None] = SimpleQueue()
        self._stub = __file__.rpartition("/")[0] + "/stub.py"
        self._idle = self._threads = 0
        self._lock = _thread.allocate_lock()

    def submit(self, launch: Launch) -> None:
        """Start these processes soon. Blocks: never."""
        with self._lock:
            if self._idle == 0 and self._threads < THREADS.get(mpi.vendor(), 1):
                self._threads += 1
                _thread.start_new_thread(self._run, ())
        self._requests.put(launch)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            launch = self._requests.get()
            if launch is None:
                break
            with self._lock:
                self._idle -= 1
            how = "fork" if launch.forked else "exec"
            argv = [sys.executable, "-I", "-S", self._stub, str(launch.start), how]
            try:
                mpi.spawn(argv, len(launch.pids), "")
            except RuntimeError as error:
                self._failed(launch.start, str(error))
        with self._lock:
            self._threads -= 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Wait for spawns under way to return, so that MPI can be ended in order."""
        for _ in range(self._threads):
            self._requests.put(None)
        end_s = time.monotonic() + timeout_s
        while self._threads and time.monotonic() < end_s:
            time.sleep(0.001)
