"""`Sender`: the sending end of a channel."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._base.units import parse_memory
from cmpi._core.channel import channel
from cmpi._transport import pickling
from cmpi.channels.broadcast import Broadcast
from cmpi.channels.byte_files import ByteWriter
from cmpi.channels.end import Endpoint
from cmpi.errors import UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.channel_ends import SenderEnd
    from cmpi._runtime.process.wait_registry import Wait
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

        Blocks: until the receiver has room for it; a value with large buffers, until they are on
            their way, so that they may be changed afterwards.
        """
        message = self._end.send_now(value)
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
        message = self._end.pack(value)
        self._settle(message)
        return Sending(self, message)

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
        message = self._end.pack(value)
        with self._lock:
            end = self._end
            healthy = end.machine.state == "open" and end.mismatch is None
            if healthy and not end.machine.room_for(len(message)):
                return False
        self._send(message, None)
        return True

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

    def _settle(self, message: pickling.Message) -> None:
        """Put what finds room there into shared memory; the rest will go by MPI, as it lies."""
        if isinstance(message, pickling.Large) and None in message.places:
            with self._lock:
                places = self._lane.reserve(message.sizes, patient=True)
            message.settle(places)

    def _send(self, message: pickling.Message, timeout: float | None) -> None:
        end = self._end
        self._settle(message)
        with self._lock:
            self._begin()
            try:
                if not end.machine.room_for(len(message)):
                    self._lane.ring_inbox.glance()  # there may be credit, for which nobody was woken
                ticket = self._enqueue(message)
                while ticket in end.messages and self._lane.ring_inbox.look():
                    pass

                def sent() -> bool:
                    return ticket not in end.messages

                if not sent():
                    with self._sending(sent, timeout):
                        end.changed.wait_for(sent, timeout)
                if not sent():
                    self._withdraw(ticket)
                    raise TimeoutError(f"{end.pid} made no room within {timeout} s")
                self._check_sent(ticket)
                self._await_release(message)
                if not self._lane.chosen:
                    self._node.await_answer(end.pid)
            finally:
                end.busy = False

    def _sending(self, ready: Callable[[], bool], timeout: float | None = None) -> Wait:
        return self._node.waits.on("send to", [self._end.pid], timeout, ready)

    async def _asend(self, message: pickling.Message) -> None:
        end = self._end
        self._settle(message)
        with self._lock:
            self._begin()
        try:
            with self._lock:
                ticket = self._enqueue(message)
            try:
                await end.changed.until(self._sending(lambda: ticket not in end.messages))
            except BaseException as cancelled:
                with self._lock:
                    sent = ticket not in end.messages and ticket not in end.failed
                    cancelled.sent = sent  # type: ignore[attr-defined]
                    self._withdraw(ticket)
                await self._release(message)
                raise
            with self._lock:
                self._check_sent(ticket)
            await self._release(message)
            if pickling.in_transit(message):
                raise end.error()
        finally:
            end.busy = False

    async def _release(self, message: pickling.Message) -> None:
        """Wait until the buffers are the caller's again: not even a cancelled call may return before."""
        cancelled = None
        while True:
            try:
                await self._end.changed.until(self._sending(lambda: self._released(message)))
                break
            except BaseException as error:
                error.sent = True  # type: ignore[attr-defined]
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _enqueue(self, message: pickling.Message) -> int:
        """Give a message to the channel, which may have to wait for credit. With the node's lock."""
        end = self._end
        if end.mismatch is not None:
            raise end.error()
        ticket = end.next_ticket
        end.next_ticket += 1
        if end.machine.admit(len(message)):
            self._peer.transmit(end, message)
        else:
            end.messages[ticket] = message
            self._peer.carry_out(end, channel.Send(ticket, len(message)))
        return ticket

    def _withdraw(self, ticket: int) -> None:
        if self._end.messages.pop(ticket, None) is not None:
            self._peer.carry_out(self._end, channel.Withdraw(ticket))

    def _check_sent(self, ticket: int) -> None:
        if ticket in self._end.failed:
            self._end.failed.discard(ticket)
            raise self._end.error()

    def _await_release(self, message: pickling.Message) -> None:
        """As `_release`, in a thread. With the node's lock."""
        if not self._released(message):

            def released() -> bool:
                return self._released(message)

            with self._sending(released):
                self._end.changed.wait_for(released)
        if pickling.in_transit(message):
            raise self._end.error()

    def _released(self, message: pickling.Message) -> bool:
        """What MPI reads from must not change. Only the peer's death ends the wait: one that closes
        its end, or leaves, takes in first what is on its way."""
        return not pickling.in_transit(message) or self._end.status is not None

    def _open(self, name: str, contract: Contract, site: str) -> SenderEnd:
        return self._peer.new_sender(name, contract, site, self._window)

    def _other(self, name: str) -> SenderEnd | None:
        return self._peer.open_sender(name)


class Sending:
    """A send that `select` may do: `sender.sending(value)` makes it."""

    def __init__(self, sender: Sender[Any], message: pickling.Message) -> None:
        self.sender, self._message = sender, message
        self._node, self._peer, self._end = sender._node, sender._peer, sender._end
        self._begin = sender._begin

    def to(self, sender: Sender[Any]) -> Sending:
        """The same to somebody else, without pickling it again."""
        message = self._message
        if isinstance(message, pickling.Large):
            message = message.again()
            sender._settle(message)
        return Sending(sender, message)

    def _ready(self) -> bool:
        machine = self._end.machine
        return (
            machine.state != "open"
            or self._end.mismatch is not None
            or machine.room_for(len(self._message))
        )

    def _complete(self) -> pickling.Message:
        self.sender._check_sent(self.sender._enqueue(self._message))
        return self._message

    def _finish(self, message: pickling.Message) -> None:
        with self._node.lock:
            self.sender._await_release(message)


def _window(capacity: int | str | None) -> tuple[int, int]:
    """Bytes and messages."""
    if capacity is None:
        return channel.WINDOW_BYTES, channel.WINDOW_MESSAGES
    if isinstance(capacity, str):
        return max(1, parse_memory(capacity)), channel.WINDOW_MESSAGES
    if isinstance(capacity, int) and capacity > 0:
        return channel.UNBOUNDED_BYTES, capacity
    raise UsageError(f"a capacity is a number of messages from 1, or bytes as text; found {capacity!r}")
