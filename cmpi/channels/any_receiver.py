"""`AnyReceiver`: one receiver for many processes, which `Receiver.any` creates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.channels.selection import Selection
from cmpi.errors import EndOfChannel

if TYPE_CHECKING:
    from types import TracebackType

    from cmpi.channels.base_receiver import BaseReceiver
    from cmpi.identifiers import Pid

T = TypeVar("T")


class AnyReceiver(Generic[T]):
    """Receives from many processes, fairly: `Receiver[T].any(pids)` creates it.

    Only one thread may use it at a time. As with a single `Receiver`, the end of its `with` block closes
    the receivers, and an exception that leaves the block aborts them.
    """

    def __init__(self, cls: Any, pids: Iterable[Pid], name: str) -> None:
        self._cls, self._name = cls, name
        self._receivers: list[BaseReceiver[T]] = []
        for pid in pids:
            self.add(pid)

    def add(self, pid: Pid) -> None:
        """Receive from this process too. Raises: as `Receiver`."""
        self._receivers.append(self._cls(pid, name=self._name))

    def recv(self, *, timeout: float | None = None) -> tuple[Pid, T]:
        """Return the next message and the process that sent it. Senders that have closed are ignored.

        Raises:
            EndOfChannel: All senders have closed.
            PeerExited, PeerFailed: A process has ended or aborted its channel; it is ignored from then on.
            TimeoutError: No message came in time.

        Blocks: until there is a message.
        """
        refuse_in_loop("recv()", "`asyncio.wait` over the async forms")
        while self._receivers:
            try:
                selection = Selection([receiver._receiving for receiver in self._receivers], timeout)
                # No call of C code follows, after which a signal handler could lose the value.
                receiver, value = selection.run()
                return receiver._end.pid, value
            except Exception as error:
                ended = getattr(error, "operation", None)
                if ended is not None:
                    self._receivers.remove(ended)
                if not isinstance(error, EndOfChannel):
                    raise
        raise EndOfChannel("all senders have closed, and all their messages have been read")

    def __iter__(self) -> Iterator[tuple[Pid, T]]:
        while True:
            try:
                message = self.recv()
            except EndOfChannel:
                return
            yield message

    def close(self) -> None:
        """Close all the receivers. Blocks: never."""
        for receiver in self._receivers:
            receiver.close()
        self._receivers.clear()

    def __enter__(self) -> AnyReceiver[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for receiver in self._receivers:
            receiver.__exit__(kind, error, trace)
        self._receivers.clear()
