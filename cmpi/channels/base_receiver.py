"""`BaseReceiver`: the methods of every receiver from one process."""

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
        """Return the next message.

        Args:
            timeout: Longest wait, in seconds. None waits for ever.
            out: An array to copy the message into; the message must be an array of the same shape and
                dtype. It is also the return value.

        Returns:
            The value. A large array may lie in memory that is shared with the sender; it belongs to this
            process alone, and its memory is returned when the last reference to it is dropped.

        Raises:
            UsageError: The message does not fit `out`; it can still be received.
            EndOfChannel: The sender was closed, and all its messages have been read.
            PeerExited: The sending process ended without closing, and all messages that arrived have been
                read.
            PeerFailed: An exception in the sending process aborted the channel, and all messages sent
                before have been read.
            ContractMismatch: The sender has another type.
            TimeoutError: No message came in time.
            ChannelClosed: This end was closed.

        Blocks: until there is a message.
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
        """As `recv`, in an event loop. For a timeout use `asyncio.wait_for`; cancelling loses no
        message."""
        return await (self._receiving if out is None else Receiving(self, out)).wait()

    def try_recv(self, default: Any = None) -> T | Any:
        """Return the next message if there is one now, else `default`.

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
        """Close this end: the sender's next send raises `PeerClosed`, and unread messages are dropped.

        Closing again does nothing. Blocks: never.
        """
        with self._lock:
            self._end.close()

    def _open(self, name: str, contract: Contract, site: str) -> ReceiverEnd:
        return self._peer.new_receiver(name, contract, site)

    def _other(self, name: str) -> ReceiverEnd | None:
        return self._peer.ends.open_receiver(name)
