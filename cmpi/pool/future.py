"""The future of a pool's task."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from cmpi._runtime.process.condition import UncutCondition

if TYPE_CHECKING:
    from typing import Protocol

    class Receiving(Protocol):
        """The pool's receiving side, as a future sees it."""

        def help(self, future: concurrent.futures.Future[Any], timeout: float | None) -> None:
            """Poll for answers in this thread until the future is done or no more answers come."""

    class TaskOwner(Protocol):
        """The workers that a task is for, as its future sees them."""

        @property
        def receiver(self) -> Receiving:
            """The receiving side for their answers."""

        def cancel(self, number: int) -> bool:
            """Take back a task if it still waits for a worker; False if not."""

        def kill(self, number: int) -> None:
            """End a task, even if it is running."""


class PoolFuture(concurrent.futures.Future[Any]):
    """A `concurrent.futures.Future` that can also end its running task and return the task's output."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = UncutCondition()

    _group: TaskOwner
    _number: int
    _output = ""
    _nbytes = 0  # of the result, if it is large

    def cancel(self) -> bool:
        """Cancel the task if it still waits for a worker. Returns True if it is cancelled.

        Blocks: never. For a running task see `kill`.
        """
        if self.done():
            return self.cancelled()
        return self._group.cancel(self._number) and super().cancel()

    def kill(self) -> None:
        """End the task even if it is running: its worker is killed and replaced, and this future raises
        `TaskKilled`.

        This does nothing if the task has ended. Blocks: never.
        """
        self._group.kill(self._number)

    def output(self) -> str:
        """Return what the task printed to sys.stdout and sys.stderr, once it has ended; at most 64 KiB."""
        return self._output

    def result(self, timeout: float | None = None) -> Any:
        """As in `concurrent.futures`; this thread polls for the answer itself before it sleeps."""
        if not self.done():
            self._group.receiver.help(self, timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `result`, but returns the exception, None if there was none."""
        if not self.done():
            self._group.receiver.help(self, timeout)
        return super().exception(timeout)

    def __reduce__(self) -> Any:
        raise TypeError("a future belongs to its process and cannot be sent; send its result()")
