"""`Broadcast`: one sender to many processes, as `Sender.broadcast` makes it."""

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
    """Sends the same to many processes: `Sender[T].broadcast(pids)` makes it.

    One thread at a time. Leaving its `with` block closes the senders, or aborts them if an exception
    leaves it, as with a single `Sender`.
    """

    def __init__(self, cls: Any, pids: Iterable[Pid], name: str) -> None:
        self.senders: list[BaseSender[T]] = [cls(pid, name=name) for pid in pids]

    def send(self, value: T, *, timeout: float | None = None) -> None:
        """Send a value to all, serialised once. The slowest of them holds up the rest.

        Raises: as `Sender.send`, at the first that cannot be sent to; those before it have the value.
        """
        if self.senders:
            first = self.senders[0].sending(value)
            for sender in self.senders:
                Selection([first.to(sender)], timeout).run()

    def close(self) -> None:
        """Tell all of them that nothing follows. Blocks: never."""
        for sender in self.senders:
            sender.close()

    def __enter__(self) -> Broadcast[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self.senders:
            sender.__exit__(kind, error, trace)
