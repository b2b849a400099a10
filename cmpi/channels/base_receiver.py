"""What every receiver from a process can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._runtime.process.channel_ends import NOTHING
from cmpi.channels.end import Endpoint
from cmpi.channels.operation import NOT_READY
from cmpi.channels.receiving import Receiving
from cmpi.errors import EndOfChannel

if TYPE_CHECKING:
    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.channel_ends import ReceiverEnd

T = TypeVar("T")


class BaseReceiver(Endpoint[T]):
    """Receives from one process. Arguments, raises: see `Receiver`."""

    _end: ReceiverEnd

    @property
    def _receiving(self) -> Receiving[T]:
        return Receiving(self)

    def recv(self, *, timeout: float | None = None, out: Any = None) -> T:
        """The next message.

        Args:
            timeout: Longest wait, in seconds. None waits for ever.
            out: An array to copy the message into, which is an array of the same shape and dtype;
                it is what is returned.

        Returns:
            The value. A large array may lie in memory that is shared with the sender; it belongs to
            this process alone, and its place is given back with the last reference to it.

        Raises:
            UsageError: The message does not fit `out`; it is still there to be received.
            EndOfChannel: The sender was closed, and everything was read.
            PeerExited: The sending process has ended without closing, and everything that
                arrived was read.
            PeerFailed: An exception made the sender give the channel up, and everything that
                was sent before was read.
            ContractMismatch: The sender's type is another.
            TimeoutError: Nothing came in time.
            ChannelClosed: This end was closed.

        Blocks: until there is one.
        """
        end = self._end
        if out is not None:
            end.refuse_in_loop()
            return Receiving(self, out).block(timeout)
        try:
            value: T = end.recv_now()
        except BaseException as error:
            end.recover(error)
            raise
        end.taken = None
        return value if value is not NOTHING else self._receiving.block(timeout)

    async def arecv(self, *, out: Any = None) -> T:
        """As `recv`, in an event loop; `asyncio.wait_for` bounds it. Cancelled, it loses no message."""
        return await (self._receiving if out is None else Receiving(self, out)).wait()

    def try_recv(self, default: Any = None) -> T | Any:
        """The next message if there is one now, else `default`.

        Raises: as `recv`, but never TimeoutError. Blocks: never.
        """
        value = self._receiving.attempt()
        return default if value is NOT_READY else value

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                value = self.recv()
            except EndOfChannel:
                return
            yield value

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                value = await self.arecv()
            except EndOfChannel:
                return
            yield value

    def close(self) -> None:
        """Read no more: the sender's next send raises `PeerClosed`; what was not read is dropped.

        Closing again does nothing. Blocks: never.
        """
        with self._lock:
            self._end.close()

    def _open(self, name: str, contract: Contract, site: str) -> ReceiverEnd:
        return self._peer.new_receiver(name, contract, site)

    def _other(self, name: str) -> ReceiverEnd | None:
        return self._peer.open_receiver(name)
