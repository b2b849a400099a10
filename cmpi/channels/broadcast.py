"""`Broadcast`: one sender to many processes, which `Sender.broadcast` creates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cmpi.channels.selection import Selection

if TYPE_CHECKING:
    from types import TracebackType

    from cmpi.channels.base_sender import BaseSender
    from cmpi.identifiers import Pid

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Sends the same values to many processes: `Sender[T].broadcast(pids)` creates it.

    Only one thread may use it at a time. As with a single `Sender`, the end of its `with` block closes the
    senders, and an exception that leaves the block aborts them.
    """

    def __init__(self, cls: Any, pids: Iterable[Pid], name: str) -> None:
        self.senders: list[BaseSender[T]] = [cls(pid, name=name) for pid in pids]

    def send(self, value: T, *, timeout: float | None = None) -> None:
        """Send a value to all processes, one after another; it is pickled only once. A slow one delays the
        rest.

        Raises: as `Sender.send`, for the first process that cannot be sent to; those before it have
            received the value.
        """
        if self.senders:
            first = self.senders[0].sending(value)
            for sender in self.senders:
                Selection([first.to(sender)], timeout).run()

    def close(self) -> None:
        """Close all the senders. Blocks: never."""
        for sender in self.senders:
            sender.close()

    def __enter__(self) -> Broadcast[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self.senders:
            sender.__exit__(kind, error, trace)
