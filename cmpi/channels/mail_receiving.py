"""`MailReceiving`: one receive from a mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cmpi.channels.call import Call
from cmpi.channels.operation import Operation
from cmpi.errors import ChannelClosed

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd
    from cmpi._runtime.process.connection import Connection
    from cmpi._runtime.process.inlets import Inlet
    from cmpi._runtime.process.node import Node
    from cmpi._runtime.process.wait_registry import Wait
    from cmpi.identifiers import Pid

R = TypeVar("R")


class MailReceiving(Operation[R]):
    """One receive from a mailbox.

    Args:
        node: This process.
        mailbox: The mailbox, which takes the place of a channel end in the operation.
        inlet: The mailbox's incoming messages.
        sender_too: Whether the result is a pair of the sender's Pid and the message.
    """

    def __init__(self, node: Node, mailbox: Any, inlet: Inlet, sender_too: bool = False) -> None:
        super().__init__(node, mailbox, mailbox)
        self._inlet, self._sender_too = inlet, sender_too

    @property
    def given(self) -> Any:
        return self.owner

    @property
    def pids(self) -> list[Pid]:
        return []  # it may wait for any process

    @property
    def connections(self) -> list[Connection]:
        return self._inlet.connections

    def begin(self) -> None:
        super().begin()
        self._inlet.settle()

    def ready(self) -> bool:
        return self._inlet.readable

    def look(self, timeout_s: float | None) -> None:
        if timeout_s != 0.0:
            self._inlet.look()

    def complete(self) -> tuple[ReceiverEnd, Any]:
        if self._inlet.closed:
            raise ChannelClosed(f"{self.owner!r} was closed")
        return self._inlet.take()

    def finish(self, result: tuple[ReceiverEnd, Any]) -> R:
        end, body = result
        value: Any = end.unpack(body)
        if isinstance(value, Call):
            value.accept(end.pid)
        return (end.pid, value) if self._sender_too else value  # type: ignore[return-value]

    def undo(self, result: tuple[ReceiverEnd, Any], error: BaseException) -> None:
        with self.end.lock:
            self._inlet.put_back()

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"no message for {self.owner!r} arrived within {timeout_s} s")

    def waiting(self, timeout_s: float | None) -> Wait:
        name = self.owner.name
        what = "a message to a mailbox" if name is None else f"a message to mailbox {name!r}"
        return self.node.waits.on(what, [], timeout_s, self.ready)
