"""`Sender`: the sending end of a channel."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._base.brief import brief
from cmpi._base.units import parse_memory
from cmpi._core.channel import channel
from cmpi._transport import pickling
from cmpi.channels.broadcast import Broadcast
from cmpi.channels.byte_files import ByteWriter
from cmpi.channels.end import Endpoint
from cmpi.channels.operation import NOT_READY
from cmpi.channels.sending import Sending
from cmpi.errors import UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.channel_ends import SenderEnd
    from cmpi.channels.mail_sender import NamedSender

T = TypeVar("T")


class Sender(Endpoint[T]):
    """The sending end of the channel from this process to `pid`.

    Opens at once, whether or not the other process has started yet or will ever receive. What is
    sent is delivered once and in order, also if this process ends right after. With the last reference
    to it, it closes.

    Args:
        pid: The receiving process; not this one.
        name: Tells several channels between the same two processes apart.
        capacity: How much may be under way, sent and not yet read: a number of messages, or bytes
            as text such as "64 MiB". The default is 32 MiB and 1024 messages. A larger message goes
            when nothing else is under way.

    Raises:
        ChannelExists: There is an open sender with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    `Sender[int](pid)` gives the channel a type, which is checked on every send and compared with
    the receiver's. Several threads may use different channels; one channel, one thread at a time.
    Source: Constellation's `Sender::new(pid)`; Hoare, "Communicating Sequential Processes" (1978),
    but with a buffer.
    """

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

    @classmethod
    def broadcast(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One sender to many processes, which serialises once: see `Broadcast`."""
        return Broadcast(cls, pids, name)

    @classmethod
    def to(cls, to: str | Pid, *, capacity: int | str | None = None) -> NamedSender[T]:
        """A sender to a mailbox: see `NamedSender` and `Mailbox`.

        Args:
            to: The mailbox's name, or the Pid of the process whose mailbox has none.
            capacity: As for `Sender`; to each process that has the mailbox in turn.

        Blocks: never; its `send` waits until a process has the name.
        """
        from cmpi.channels.mail_sender import NamedSender

        return NamedSender(to, getattr(cls, "hint", Any), capacity)

    def try_send(self, value: T) -> bool:
        """Send a value if there is room for it now; returns whether it was sent.

        Raises: as `send`, but never TimeoutError.

        Blocks: as `send` for a value with large buffers, else never.
        """
        return Sending(self, self._end.pack(value)).attempt() is not NOT_READY

    def loan(self, shape: int | tuple[int, ...], dtype: Any = float) -> NDArray[Any]:
        """Memory for an array to fill and then send through this sender, without a copy if it is large.

        Args:
            shape: As in `numpy.empty`.
            dtype: Likewise; no objects, no structure.

        Returns:
            An array with whatever was in its memory before. After `send` it can only be read, and is
            the receiver's, who may change it. If it is not sent, it ends with its last reference.

        The memory is shared with the receiving process, once the two have exchanged some messages
        and while there is room (`cmpirun --shared-memory`); otherwise it is ordinary memory, and the
        array is copied when it is sent. Blocks: never.
        """
        import numpy as np

        array: NDArray[Any] = np.empty(0, dtype)
        nbytes = array.itemsize * int(np.prod(shape))
        place = None
        if nbytes >= pickling.OUT_OF_BAND_BYTES and array.dtype.kind not in "OV":
            with self._lock:
                (place,) = self._lane.reserve([nbytes])
        if place is None:
            return np.empty(shape, dtype)
        array = np.ndarray(shape, dtype, place.memory)
        self._end.loans[id(array)] = place.lend(array, self._end.loans)
        return array

    def makefile(self: Sender[bytes], buffer_bytes: int = 1 << 18) -> io.BufferedWriter:
        """A binary file to write to; closing it closes this sender.

        Args:
            buffer_bytes: What is written is sent in pieces of this size, or when it is flushed.

        Its `write` and `close` block and raise as `send`.
        """
        return ByteWriter(self, buffer_bytes)

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
