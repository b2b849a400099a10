"""`Operation`: one receive or send, which can be carried out in four ways: block, try, await or select."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from cmpi._base.interrupts import came_from_handler
from cmpi.errors import ChannelBusy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd
    from cmpi._runtime.process.connection import Connection
    from cmpi._runtime.process.node import Node
    from cmpi._runtime.process.wait_registry import Wait
    from cmpi.identifiers import Pid

R = TypeVar("R")
NOT_READY: Any = object()  # what `attempt` returns if the operation would wait


class Operation(Generic[R]):
    """One operation on one end of a channel.

    Each way of carrying it out calls these steps, in this order:

        prepare()         without the lock: work that can be done in advance
        begin()           with the lock: reserve the end, until `end.busy` is false again
        ready()           with the lock: whether `complete` can be called now
        complete()        with the lock: do it atomically, or raise why it can never be done
        finish(result)    without the lock: turn the result of `complete` into the value

    If a signal handler raises, or the task is cancelled, the operation was not done (before `complete`), or
    it is undone (`undo`), or the error says that it was done (`error.sent`, for a send).
    """

    kind: ClassVar[str]  # a phrase that is followed by a process

    def __init__(self, node: Node, end: Any, owner: Any) -> None:
        self.node, self.owner = node, owner
        self.end: SenderEnd | ReceiverEnd = end

    @property
    def pids(self) -> list[Pid]:
        """The processes that it may wait for."""
        return [self.end.pid]

    @property
    def connections(self) -> Sequence[Connection]:
        """The connections whose input it may wait for. With the lock held."""
        return (self.end.connection,)

    @property
    def given(self) -> Any:
        """The object that stands for this operation in a call of `select`."""
        return self

    def prepare(self) -> None:
        """Do the work that can be done in advance."""

    def begin(self) -> None:
        """Reserve the end. Called with the lock."""
        if self.end.busy:
            raise ChannelBusy(
                f"{self.owner!r} is in use by another thread or task, or by the call that a signal handler "
                "interrupted. Give each a channel of its own, with its own name."
            )
        self.end.busy = True

    def ready(self) -> bool:
        """Whether it can be done without waiting. Called with the lock."""
        raise NotImplementedError

    def look(self, timeout_s: float | None) -> None:
        """Poll, in this thread, for what makes it ready. Called with the lock. Blocks: for a moment."""
        raise NotImplementedError

    def await_ready(self) -> None:
        """Called with the lock before a wait until it is ready."""

    def stop_waiting(self) -> None:
        """Called with the lock after such a wait."""

    def complete(self) -> Any:
        """Do it. Called with the lock. Raises: why it can never be done."""
        raise NotImplementedError

    def finish(self, result: Any) -> R:
        """Finish the operation; returns the value."""
        raise NotImplementedError

    async def finish_async(self, result: Any) -> R:
        """As `finish`, in an event loop."""
        return self.finish(result)

    def undo(self, result: Any, error: BaseException) -> None:
        """Undo it after `complete`, because this error prevents the caller from getting the value.

        Called without the lock.
        """
        raise NotImplementedError

    def not_done(self, error: BaseException) -> None:
        """Called when this error ended it before it was done."""

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        """The error for a timeout."""
        raise NotImplementedError

    def waiting(self, timeout_s: float | None) -> Wait:
        """The entry for the registry of waits."""
        return self.node.waits.on(self.kind, self.pids, timeout_s, self.ready)

    # -- the ways to carry it out -----------------------------------------------------------

    def block(self, timeout_s: float | None = None) -> R:
        """Wait until it can be done, and do it.

        Raises: TimeoutError; as `complete` and `finish`.
        """
        lock = self.end.lock
        lock.refuse_inside()
        result, done = None, False
        try:
            self.prepare()
            with lock:
                self.begin()
                try:
                    if not self.ready():
                        self.look(timeout_s)
                        if not self.ready():
                            self._wait(timeout_s)
                    result = self.complete()
                    done = True
                finally:
                    self.end.busy = False
            return self.finish(result)
        except BaseException as error:
            self._ended_by(error, result, done)
            raise

    def _ended_by(self, error: BaseException, result: Any, done: bool) -> None:
        """Handle an error that came before or after it was done."""
        if not done:
            self.not_done(error)
        elif came_from_handler(error):
            self.undo(result, error)

    def _wait(self, timeout_s: float | None) -> None:
        self.await_ready()
        try:
            with self.waiting(timeout_s):
                came = self.end.changed.wait_for(self.ready, timeout_s)
        finally:
            self.stop_waiting()
        if not came:
            raise self.too_late(timeout_s)

    def attempt(self) -> R:
        """Do it if it can be done now, else return NOT_READY."""
        lock = self.end.lock
        lock.refuse_inside()
        with lock:
            self.begin()
            try:
                if not self.ready():
                    self.look(0.0)
                ready = self.ready()
            finally:
                self.end.busy = False
        return self.block() if ready else NOT_READY

    async def wait(self) -> R:
        """As `block`, in an event loop."""
        lock, end = self.end.lock, self.end
        lock.refuse_inside()
        self.prepare()
        with lock:
            self.begin()
        result, done = None, False
        try:
            with lock:
                ready = self.ready()
                if not ready:
                    self.await_ready()
            try:
                while not done:
                    if not ready:
                        await end.changed.until(self.waiting(None))
                    with lock:
                        ready = self.ready()
                        if ready:
                            result = self.complete()
                            done = True
            finally:
                with lock:
                    self.stop_waiting()
                    end.busy = False
            return await self.finish_async(result)
        except BaseException as error:
            self._ended_by(error, result, done)
            raise
