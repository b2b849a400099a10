"""One receive or one send, which can be done in four ways: block, try, await, or select among several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from cmpi._base.interrupts import came_from_handler
from cmpi.errors import ChannelBusy

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd
    from cmpi._runtime.process.node import Node
    from cmpi._runtime.process.wait_registry import Wait
    from cmpi.identifiers import Pid

R = TypeVar("R")
NOT_READY: Any = object()  # what `attempt` returns if the operation would wait


class Operation(Generic[R]):
    """What is to be done with one end of a channel.

    The steps, in their order; each way of doing it calls them so:

        prepare()         without the lock: what can be done ahead
        begin()           with the lock: nobody else may use the end until `end.busy` is false again
        ready()           with the lock: whether `complete` can be called now
        complete()        with the lock: do it, or raise why it never can be; all at once
        finish(result)    without the lock: what remains to be done with what `complete` gave

    An exception out of a signal handler, or a cancelled task, leaves it not done (before `complete`), or
    has it undone (`undo`), or says that it was done (`error.sent`, for a send).
    """

    kind: ClassVar[str]  # in words, with a process to follow

    def __init__(self, node: Node, end: Any, owner: Any) -> None:
        self.node, self.owner = node, owner
        self.end: SenderEnd | ReceiverEnd = end

    @property
    def pids(self) -> list[Pid]:
        """The processes for which it may wait."""
        return [self.end.pid]

    @property
    def given(self) -> Any:
        """What stands for this operation in a call of `select`."""
        return self

    def prepare(self) -> None:
        """Do what can be done ahead."""

    def begin(self) -> None:
        """Take the end. With the lock."""
        if self.end.busy:
            raise ChannelBusy(
                f"two threads or tasks use {self.owner!r} at once, or a signal handler while another call "
                "waits; a channel end is for one at a time. Give each a channel of its own, by name."
            )
        self.end.busy = True

    def ready(self) -> bool:
        """Whether it would not wait. With the lock."""
        raise NotImplementedError

    def look(self, timeout_s: float | None) -> None:
        """Look, in this thread, for what makes it ready. With the lock. Blocks: for a moment."""
        raise NotImplementedError

    def await_ready(self) -> None:
        """Somebody is about to wait until it is ready. With the lock."""

    def stop_waiting(self) -> None:
        """Nobody waits any more. With the lock."""

    def complete(self) -> Any:
        """Do it. With the lock. Raises: why it can never be done."""
        raise NotImplementedError

    def finish(self, result: Any) -> R:
        """What remains to be done, and the value."""
        raise NotImplementedError

    async def finish_async(self, result: Any) -> R:
        """As `finish`, in an event loop."""
        return self.finish(result)

    def undo(self, result: Any, error: BaseException) -> None:
        """It was done, and this error keeps the caller from learning the value. Without the lock."""
        raise NotImplementedError

    def not_done(self, error: BaseException) -> None:
        """This error ends it before it was done."""

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        """The error of a wait that ran out."""
        raise NotImplementedError

    def waiting(self, timeout_s: float | None) -> Wait:
        """An entry of the registry of waits."""
        return self.node.waits.on(self.kind, self.pids, timeout_s, self.ready)

    # -- the ways --------------------------------------------------------------------------

    def block(self, timeout_s: float | None = None) -> R:
        """Do it as soon as it can be done.

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
        """This error came before it was done, or behind that."""
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
