"""`BaseSender`: the methods of every sender to one process, for a channel or a mailbox."""

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
        """Send a copy of a value in its present state.

        Args:
            value: Anything that cloudpickle can pickle. Large numpy arrays are not copied into a pickle.
            timeout: Longest wait, in seconds. None waits for ever.

        Raises:
            ContractMismatch: The value does not have the channel's type, or the receiver has another type.
            NotPicklable: The value cannot be pickled; the message shows the path to the part at fault.
            TimeoutError: There was no room in time. The value was not sent.
            PeerClosed: The receiver was closed.
            PeerFailed: An exception in the receiving process aborted the channel.
            PeerExited: The receiving process has ended.
            ChannelClosed: This end was closed.

        If a signal handler raises during the wait, the exception's `sent` says whether the value was sent.

        Blocks: until the receiver has room for the value; also until large buffers have been transferred
            and may be changed again.
        """
        try:
            message = self._end.send_now(value)
        except BaseException as error:
            self._end.recover(error)
            raise
        if message is not None:
            self._send(message, timeout)

    async def asend(self, value: T) -> None:
        """As `send`, in an event loop. For a timeout use `asyncio.wait_for`.

        When it is cancelled, the CancelledError's `sent` says whether the value was sent.
        """
        await self._asend(self._end.pack(value))

    def sending(self, value: T) -> Sending:
        """Prepare a send as an argument of `select`, which may or may not carry it out.

        Do not change the value before `select` has returned.

        Raises: ContractMismatch, NotPicklable. Blocks: while the value is pickled.
        """
        sending = Sending(self, self._end.pack(value))
        sending.prepare()
        return sending

    def try_send(self, value: T) -> bool:
        """Send a value if there is room for it now. Returns True if it was sent.

        Raises: as `send`, but never TimeoutError.

        Blocks: as `send` for a value with large buffers; otherwise never.
        """
        return Sending(self, self._end.pack(value)).attempt() is not NOT_READY

    def close(self) -> None:
        """Close the channel: the receiver's iteration ends after the last message.

        Closing again does nothing. Blocks: never.
        """
        with self._lock:
            self._end.close()

    def _send(self, message: pickling.Message, timeout: float | None) -> None:
        """Send a message that is already pickled."""
        Sending(self, message).block(timeout)

    async def _asend(self, message: pickling.Message) -> None:
        """As `_send`, in an event loop."""
        await Sending(self, message).wait()

    def _open(self, name: str, contract: Contract, site: str) -> SenderEnd:
        return self._peer.new_sender(name, contract, site, self._window)

    def _other(self, name: str) -> SenderEnd | None:
        return self._peer.ends.open_sender(name)


def _window(capacity: int | str | None) -> tuple[int, int]:
    """The limits for a capacity: bytes, and number of messages."""
    if capacity is None:
        return channel.WINDOW_BYTES, channel.WINDOW_MESSAGES
    if isinstance(capacity, str):
        return max(1, parse_memory(capacity)), channel.WINDOW_MESSAGES
    if isinstance(capacity, int) and capacity > 0:
        return channel.UNBOUNDED_BYTES, capacity
    raise UsageError(
        f"capacity is a number of messages, 1 or more, or a size such as '64 MiB'; found {brief(capacity)}"
    )
