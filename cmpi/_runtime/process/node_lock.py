"""The lock of a process's knowledge about its job."""

from __future__ import annotations

import threading
import time

from cmpi._runtime.process import signal_guard
from cmpi.errors import NotRunning, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class NodeLock:
    """A lock that its thread may take again, as `threading.RLock`, and that signal handlers respect.

    It has the methods of `threading.RLock`, including those that a condition needs.
    """

    __slots__ = ("_acquire_restore", "_is_owned", "_release_save", "acquire", "release")

    def __init__(self) -> None:
        lock: Any = threading.RLock()
        self.acquire: Callable[..., Any] = lock.acquire
        self.release: Callable[[], None] = lock.release
        self._is_owned: Callable[[], bool] = lock._is_owned
        self._release_save, self._acquire_restore = lock._release_save, lock._acquire_restore
        signal_guard.protect(self)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()
        if signal_guard.put_off:
            signal_guard.call_put_off()

    def let_others(self) -> None:
        """Release the lock, which is held once, and take it again. Signal handlers are delayed meanwhile:
        an exception of theirs would leave the caller without the lock."""
        main = threading.get_ident() == signal_guard.MAIN
        if main:
            signal_guard.uncut.depth += 1
        self.release()
        time.sleep(0)
        self.acquire()
        if main:
            signal_guard.uncut.depth -= 1

    def refuse_inside(self) -> None:
        """Refuse a call that a finalizer makes inside another call of the same thread.

        Raises:
            UsageError: This thread holds the lock.
        """
        if self._is_owned():
            raise UsageError(
                "a finalizer (`__del__`, or a weak reference's callback) called cmpi while its thread was "
                "inside another call of cmpi. Have the finalizer pass the work to another thread, for "
                "instance through a queue.SimpleQueue."
            )

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Raise this error from now on wherever the lock would be taken, even if it is held by a thread
        that no longer exists, as after a fork."""

        def acquire(*_: object) -> None:
            raise error()

        self.acquire = acquire


def forked() -> NotRunning:
    """The error of a call in a process that was forked from a process of the job."""
    return NotRunning(
        "this process was forked from a process of the job (by multiprocessing or os.fork), so it is not "
        "part of the job. Use cmpi.spawn(), or multiprocessing's spawn method."
    )


def left() -> NotRunning:
    """The error of a call after the process has left the job."""
    return NotRunning(
        "this process has left the job: MPI_Finalize was called, or the process is ending. Make this call "
        "before that."
    )
