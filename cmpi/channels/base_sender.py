"""What every sender to a process can do, that of a channel and that of a mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._base.brief import brief
from cmpi._base.units import parse_memory
from cmpi._core.channel import channel
from cmpi._transport import pickling
from cmpi.channels.end import Endpoint
from cmpi.channels.operation import NOT_READY
from cmpi.channels.sending import Sending
from cmpi.errors import UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.channel_ends import SenderEnd

T = TypeVar("T")


class BaseSender(Endpoint[T]):
    """Sends to one process. Arguments, raises: see `Sender`."""

    _end: SenderEnd

    def __init__(
        self, pid: Pid, *, name: str = "", capacity: int | str | None = None, _hint: object = Any
    ) -> None:
        self._window = _window(capacity)
        super().__init__(pid, name=name, _hint=_hint)

    def send(self, value: T, *, timeout: float | None = None) -> None:
        """Send a value: a copy of it, as it is now.

        Args:
            value: Anything that cloudpickle can pickle. Large numpy arrays are not copied on the way.
            timeout: Longest wait, in seconds. None waits for ever.

        Raises:
            ContractMismatch: It is not of the channel's type, or the receiver's type is another.
            NotPicklable: It cannot be pickled; the message has the path to the culprit.
            TimeoutError: There was no room in time. The value was not sent.
            PeerClosed: The receiver was closed.
            PeerFailed: An exception made the receiver give the channel up.
            PeerExited: The receiving process has ended.
            ChannelClosed: This end was closed.

        If a signal handler raises while this waits, the exception's `sent` says whether the value was sent.

        Blocks: until the receiver has room for it; a value with large buffers, until they are on
            their way, so that they may be changed afterwards.
        """
        try:
            message = self._end.send_now(value)
        except BaseException as error:
            self._end.recover(error)
            raise
        if message is not None:
            self._send(message, timeout)

    async def asend(self, value: T) -> None:
        """As `send`, in an event loop; `asyncio.wait_for` bounds it.

        Cancelled, it has either sent the value or not: the CancelledError's `sent` says which.
        """
        await self._asend(self._end.pack(value))

    def sending(self, value: T) -> Sending:
        """A send for `select` to do, or not. The value must stay as it is until then.

        Raises: ContractMismatch, NotPicklable. Blocks: for the time of pickling.
        """
        sending = Sending(self, self._end.pack(value))
        sending.prepare()
        return sending

    def try_send(self, value: T) -> bool:
        """Send a value if there is room for it now; returns whether it was sent.

        Raises: as `send`, but never TimeoutError.

        Blocks: as `send` for a value with large buffers, else never.
        """
        return Sending(self, self._end.pack(value)).attempt() is not NOT_READY

    def close(self) -> None:
        """Say that nothing follows: the receiver's iteration ends after all that was sent.

        Closing again does nothing. Blocks: never.
        """
        with self._lock:
            self._end.close()

    def _send(self, message: pickling.Message, timeout: float | None) -> None:
        """Send what is pickled already."""
        Sending(self, message).block(timeout)

    async def _asend(self, message: pickling.Message) -> None:
        """As `_send`, in an event loop."""
        await Sending(self, message).wait()

    def _open(self, name: str, contract: Contract, site: str) -> SenderEnd:
        return self._peer.new_sender(name, contract, site, self._window)

    def _other(self, name: str) -> SenderEnd | None:
        return self._peer.open_sender(name)


def _window(capacity: int | str | None) -> tuple[int, int]:
    """Bytes and messages."""
    if capacity is None:
        return channel.WINDOW_BYTES, channel.WINDOW_MESSAGES
    if isinstance(capacity, str):
        return max(1, parse_memory(capacity)), channel.WINDOW_MESSAGES
    if isinstance(capacity, int) and capacity > 0:
        return channel.UNBOUNDED_BYTES, capacity
    raise UsageError(
        f"a capacity is a number of messages from 1, or bytes as text; found {brief(capacity)}"
    )
