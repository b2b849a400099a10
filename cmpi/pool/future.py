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
            """Look for answers in this thread until the future is done or nothing comes."""

    class TaskOwner(Protocol):
        """The workers that a task is for, as its future sees them."""

        @property
        def receiver(self) -> Receiving:
            """Where their answers come in."""

        def cancel(self, number: int) -> bool:
            """Take back a task that still waits for a worker; False if it does not."""

        def kill(self, number: int) -> None:
            """End a task, even if it runs."""


class PoolFuture(concurrent.futures.Future[Any]):
    """A `concurrent.futures.Future` that can also end its task while that runs, and knows what it
    printed."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = UncutCondition()

    _group: TaskOwner
    _number: int
    _output = ""
    _nbytes = 0  # of the result, if it is large

    def cancel(self) -> bool:
        """Cancel the task if it still waits for a worker; returns whether it is cancelled.

        Blocks: never. See `kill` for a task that runs.
        """
        if self.done():
            return self.cancelled()
        return self._group.cancel(self._number) and super().cancel()

    def kill(self) -> None:
        """End the task even if it runs: its worker is killed and replaced, and this future raises
        `TaskKilled`.

        A task that has ended is not affected. Blocks: never.
        """
        self._group.kill(self._number)

    def output(self) -> str:
        """What the task printed to sys.stdout and sys.stderr, once it has ended; at most 64 KiB."""
        return self._output

    def result(self, timeout: float | None = None) -> Any:
        """As in `concurrent.futures`; this thread looks for the answer itself before it sleeps."""
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
