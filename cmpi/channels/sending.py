"""`Sending`: one send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cmpi._base.interrupts import came_from_handler
from cmpi._core.channel import channel
from cmpi._transport import pickling
from cmpi.channels.operation import Operation

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import SenderEnd
    from cmpi._runtime.process.wait_registry import Wait
    from cmpi.channels.end import Endpoint


class Sending(Operation[None]):
    """One send, as an argument of `select`: `sender.sending(value)` creates it."""

    kind: ClassVar[str] = "send to"
    end: SenderEnd

    def __init__(self, sender: Endpoint[Any], message: pickling.Message) -> None:
        super().__init__(sender._node, sender._end, sender)
        self.sender, self._message = sender, message
        self._connection = sender._end.peer.connection

    def to(self, sender: Endpoint[Any]) -> Sending:
        """The same send to another process, without pickling the value again."""
        message = self._message
        sending = Sending(sender, message.again() if isinstance(message, pickling.Large) else message)
        sending.prepare()
        return sending

    def prepare(self) -> None:
        """Copy large buffers into shared memory if there is room; the rest are sent directly from the
        caller's memory."""
        message = self._message
        if isinstance(message, pickling.Large) and None in message.places:
            with self.end.lock:
                places = self._connection.reserve(message.sizes, patient=True)
            message.settle(places)

    def ready(self) -> bool:
        end = self.end
        return (
            end.machine.state != "open"
            or end.mismatch is not None
            or end.machine.room_for(len(self._message))
        )

    def look(self, timeout_s: float | None) -> None:
        inbox = self._connection.inbox
        inbox.glance()  # credit may have arrived without waking anybody
        if timeout_s == 0.0 or self.ready():
            return
        self.await_ready()  # so the receiver returns all credit as soon as it has read everything
        while not self.ready() and inbox.look():
            pass

    def await_ready(self) -> None:
        self.end.peer.carry_out(self.end, channel.AwaitRoom(len(self._message)))

    def stop_waiting(self) -> None:
        self.end.peer.carry_out(self.end, channel.StopWaiting())

    def complete(self) -> None:
        end = self.end
        if end.mismatch is not None or not end.machine.admit(len(self._message)):
            raise end.error()
        end.peer.transmit(end, self._message)

    def finish(self, result: None) -> None:
        """Wait until the caller may change the buffers again.

        MPI still reads from them until then, so an exception from a signal handler is raised only after
        this wait.
        """
        if isinstance(self._message, bytes) and self._connection.chosen:
            return
        interrupt: BaseException | None = None
        with self.end.lock:
            while not self._released():
                try:
                    with self._releasing():
                        self.end.changed.wait_for(self._released)
                except BaseException as error:
                    interrupt = error
            if interrupt is None and not self._connection.chosen:
                self.node.exits.await_answer(self.end.pid)
        if interrupt is not None:
            raise interrupt
        self._check_delivered()

    async def finish_async(self, result: None) -> None:
        """As `finish`; a cancelled task must wait, too."""
        interrupt: BaseException | None = None
        while not self._released():
            try:
                await self.end.changed.until(self._releasing())
            except BaseException as error:
                error.sent = True  # type: ignore[attr-defined]
                interrupt = error
        if interrupt is not None:
            raise interrupt
        self._check_delivered()

    def _releasing(self) -> Wait:
        return self.node.waits.on(self.kind, [self.end.pid], None, self._released)

    def _released(self) -> bool:
        """Whether the buffers are free. Only the peer's death ends the wait early: a peer that closes its
        end or leaves still receives what is in flight."""
        return not pickling.in_transit(self._message) or self.end.status is not None

    def _check_delivered(self) -> None:
        if pickling.in_transit(self._message):
            raise self.end.error()

    def undo(self, result: None, error: BaseException) -> None:
        error.sent = True  # type: ignore[attr-defined]

    def not_done(self, error: BaseException) -> None:
        if not isinstance(error, Exception) or came_from_handler(error):
            error.sent = False  # type: ignore[attr-defined]

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"{self.end.pid} granted no room for the message within {timeout_s} s")
