"""`AnyReceiver`: one receiver for many processes, as `Receiver.any` makes it."""

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
    """Receives from many processes, each in its turn: `Receiver[T].any(pids)` makes it.

    One thread at a time. Leaving its `with` block closes the receivers, or aborts them if an exception
    leaves it, as with a single `Receiver`.
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
        """The next message, and who sent it. A sender that has closed is left out from then on.

        Raises:
            EndOfChannel: All have closed.
            PeerExited, PeerFailed: One has ended, or given its channel up; it is left out from then on.
            TimeoutError: Nothing came in time.

        Blocks: until there is one.
        """
        refuse_in_loop("recv()", "`asyncio.wait` over the async forms")
        while self._receivers:
            try:
                selection = Selection([receiver._receiving for receiver in self._receivers], timeout)
                # No call of C code from here on, behind which a signal handler could lose the value.
                receiver, value = selection.run()
                return receiver._end.pid, value
            except Exception as error:
                ended = getattr(error, "operation", None)
                if ended is not None:
                    self._receivers.remove(ended)
                if not isinstance(error, EndOfChannel):
                    raise
        raise EndOfChannel("all senders have closed, and all that they sent was read")

    def __iter__(self) -> Iterator[tuple[Pid, T]]:
        while True:
            try:
                message = self.recv()
            except EndOfChannel:
                return
            yield message

    def close(self) -> None:
        """Read no more from any of them. Blocks: never."""
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
