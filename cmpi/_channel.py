"""`Sender` and `Receiver`: the two ends of a channel, in their blocking form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._core import channel
from cmpi._core.units import parse_memory
from cmpi._end import End
from cmpi._ids import Pid
from cmpi._runtime.changes import refuse_in_loop
from cmpi._transport import pickling
from cmpi.errors import EndOfChannel, UsageError

if TYPE_CHECKING:
    from cmpi._runtime.ends import ReceiverEnd, SenderEnd
    from cmpi._runtime.node import Node

T = TypeVar("T")

UNBOUNDED_BYTES = 1 << 62  # where only messages are counted
CLOSURE_CHANNEL = "\0closure"  # carries a closure that is too large for the spawn request


class Sender(End[T]):
    """The sending end of the channel from this process to `pid`.

    Opens at once, whether or not the other process has started yet or will ever receive. What is
    sent is delivered once and in order, also if this process ends right after.

    Args:
        pid: The receiving process; not this one.
        name: Tells several channels between the same two processes apart.
        capacity: How much may be under way, sent and not yet read: a number of messages, or bytes
            as text such as "64 MiB". The default is 4 MiB and 1024 messages. A larger message goes
            when nothing else is under way.

    Raises:
        ChannelExists: There is an open sender with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    `Sender[int](pid)` gives the channel a type, which is checked on every send and compared with
    the receiver's. Several threads may use different channels; one channel, one thread at a time.
    Source: Constellation's `Sender::new(pid)`; Hoare, "Communicating Sequential Processes" (1978),
    but with a buffer.
    """

    _registry: dict[tuple[int, str], SenderEnd | ReceiverEnd] = {}
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
            PeerExited: The receiving process has ended.
            ChannelClosed: This end was closed.

        Blocks: until the receiver has room for it; a value with large buffers, until they are on
            their way, so that they may be changed afterwards.
        """
        refuse_in_loop("send()", "`await sender.asend(value)`")
        self._contract.check(value)
        self._send(pickling.dumps(value), timeout)

    async def asend(self, value: T) -> None:
        """As `send`, in an event loop; `asyncio.wait_for` bounds it.

        Cancelled, it has either sent the value or not: the CancelledError's `sent` says which.
        """
        self._contract.check(value)
        await self._asend(pickling.dumps(value))

    def sending(self, value: T) -> Sending:
        """A send for `select` to do, or not. The value must stay as it is until then.

        Raises: ContractMismatch, NotPicklable. Blocks: for the time of pickling.
        """
        self._contract.check(value)
        return Sending(self, pickling.dumps(value))

    @classmethod
    def broadcast(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One sender to many processes, which serialises once: see `Broadcast`."""
        from cmpi._select import Broadcast

        return Broadcast(cls, pids, name)

    def try_send(self, value: T) -> bool:
        """Send a value if there is room for it now; returns whether it was sent.

        Raises: as `send`, but never TimeoutError.

        Blocks: as `send` for a value with large buffers, else never.
        """
        self._contract.check(value)
        message = pickling.dumps(value)
        with self._node.lock:
            end = self._end
            if (
                end.machine.state == "open"
                and end.mismatch is None
                and not end.machine.room_for(message.nbytes)
            ):
                return False
        self._send(message, None)
        return True

    def close(self) -> None:
        """Say that nothing follows: the receiver's iteration ends after all that was sent.

        Closing again does nothing. Blocks: never.
        """
        with self._node.lock:
            if self._end.machine.state != "closed":
                peer = self._node.peer(self._end.peer)
                peer.carry_out(self._end, channel.Close())
                peer.forget(self._end)

    def _send(self, message: pickling.Pickled, timeout: float | None) -> None:
        end = self._end
        with self._node.lock:
            self._begin()
            try:
                ticket = self._enqueue(message)
                if not end.changed.wait_for(lambda: ticket not in end.messages, timeout):
                    self._withdraw(ticket)
                    raise TimeoutError(f"{end.peer} made no room within {timeout} s")
                self._check_sent(ticket)
                self._await_release(message)
            finally:
                end.busy = False

    async def _asend(self, message: pickling.Pickled) -> None:
        end = self._end
        with self._node.lock:
            self._begin()
        try:
            with self._node.lock:
                ticket = self._enqueue(message)
            try:
                await end.changed.until(lambda: ticket not in end.messages)
            except BaseException as cancelled:
                with self._node.lock:
                    sent = ticket not in end.messages and ticket not in end.failed
                    cancelled.sent = sent  # type: ignore[attr-defined]
                    self._withdraw(ticket)
                await self._release(message)
                raise
            with self._node.lock:
                self._check_sent(ticket)
            await self._release(message)
            if message.in_transit:
                raise end.error()
        finally:
            end.busy = False

    async def _release(self, message: pickling.Pickled) -> None:
        """Wait until the buffers are the caller's again: not even a cancelled call may return before."""
        cancelled = None
        while True:
            try:
                await self._end.changed.until(lambda: self._released(message))
                break
            except BaseException as error:
                error.sent = True  # type: ignore[attr-defined]
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _enqueue(self, message: pickling.Pickled) -> int:
        """Give a message to the channel, which may have to wait for credit. With the node's lock."""
        end = self._end
        if end.mismatch is not None:
            raise end.error()
        ticket = end.next_ticket
        end.next_ticket += 1
        end.messages[ticket] = message
        self._node.peer(end.peer).carry_out(end, channel.Send(ticket, message.nbytes))
        return ticket

    def _withdraw(self, ticket: int) -> None:
        if self._end.messages.pop(ticket, None) is not None:
            self._node.peer(self._end.peer).carry_out(self._end, channel.Withdraw(ticket))

    def _check_sent(self, ticket: int) -> None:
        if ticket in self._end.failed:
            self._end.failed.discard(ticket)
            raise self._end.error()

    def _await_release(self, message: pickling.Pickled) -> None:
        """As `_release`, in a thread. With the node's lock."""
        self._end.changed.wait_for(lambda: self._released(message))
        if message.in_transit:
            raise self._end.error()

    def _released(self, message: pickling.Pickled) -> bool:
        """What MPI reads from must not change. Only the peer's death ends the wait: one that closes
        its end, or leaves, takes in first what is on its way."""
        return not message.in_transit or self._end.status is not None

    def _open(self, node: Node, pid: Pid, name: str, site: str) -> SenderEnd:
        return node.peer(pid).new_sender(name, self._contract.text, site, self._window)

    @staticmethod
    def _is_open(end: Any) -> bool:
        return bool(end.machine.state == "open")


class Sending:
    """A send that `select` may do: `sender.sending(value)` makes it."""

    def __init__(self, sender: Sender[Any], message: pickling.Pickled) -> None:
        self.sender, self._message = sender, message
        self._node, self._end = sender._node, sender._end
        self._begin = sender._begin

    def to(self, sender: Sender[Any]) -> Sending:
        """The same to somebody else, without pickling it again."""
        return Sending(sender, self._message.again())

    def _ready(self) -> bool:
        machine = self._end.machine
        return (
            machine.state != "open"
            or self._end.mismatch is not None
            or machine.room_for(self._message.nbytes)
        )

    def _complete(self) -> pickling.Pickled:
        self.sender._check_sent(self.sender._enqueue(self._message))
        return self._message

    def _finish(self, message: pickling.Pickled) -> None:
        with self._node.lock:
            self.sender._await_release(message)


class Receiver(End[T]):
    """The receiving end of the channel from `pid` to this process.

    Opens at once. What was sent before this end was made is kept, as far as the channel's window
    reaches; then the sender waits.

    Args:
        pid: The sending process; not this one.
        name: Tells several channels between the same two processes apart.

    Raises:
        ChannelExists: There is an open receiver with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    Iterating gives the messages until the sender closes. One thread at a time.
    Source: as `Sender`.
    """

    _registry: dict[tuple[int, str], SenderEnd | ReceiverEnd] = {}
    _end: ReceiverEnd

    def recv(self, *, timeout: float | None = None) -> T:
        """The next message.

        Args:
            timeout: Longest wait, in seconds. None waits for ever.

        Raises:
            EndOfChannel: The sender was closed, and everything was read.
            PeerExited: The sending process has ended without closing, and everything that
                arrived was read.
            ContractMismatch: The sender's type is another.
            TimeoutError: Nothing came in time.
            ChannelClosed: This end was closed.

        Blocks: until there is one.
        """
        refuse_in_loop("recv()", "`await receiver.arecv()`")
        with self._node.lock:
            self._begin()
            try:
                if not self._end.changed.wait_for(lambda: self._end.readable, timeout):
                    raise TimeoutError(f"nothing came from {self._end.peer} within {timeout} s")
                message = self._take()
            finally:
                self._end.busy = False
        return self._finish(message)

    @classmethod
    def any(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One receiver for many processes, which takes new ones later: see `AnyReceiver`."""
        from cmpi._select import AnyReceiver

        return AnyReceiver(cls, pids, name)

    def _ready(self) -> bool:
        return self._end.readable

    def _complete(self) -> Any:
        return self._take()

    def _finish(self, message: Any) -> T:
        value: T = pickling.loads(*message)
        return value

    async def arecv(self) -> T:
        """As `recv`, in an event loop; `asyncio.wait_for` bounds it. Cancelled, it loses no message."""
        with self._node.lock:
            self._begin()
        try:
            message = None
            while message is None:
                await self._end.changed.until(lambda: self._end.readable)
                with self._node.lock:
                    if self._end.readable:
                        message = self._take()
        finally:
            self._end.busy = False
        return self._finish(message)

    def try_recv(self, default: Any = None) -> T | Any:
        """The next message if there is one now, else `default`.

        Raises: as `recv`, but never TimeoutError. Blocks: never.
        """
        with self._node.lock:
            self._begin()
            try:
                if not self._end.readable:
                    return default
                message = self._take()
            finally:
                self._end.busy = False
        return self._finish(message)

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
        with self._node.lock:
            self._node.peer(self._end.peer).close_receiver(self._end)

    def _take(self) -> Any:
        peer = self._node.peer(self._end.peer)
        message = None
        if self._end.mismatch is None:
            message = peer.take(self._end)
        if message is None:
            if self._end.machine.state == "ended":
                peer.forget(self._end)
            raise self._end.error()
        return message

    def _open(self, node: Node, pid: Pid, name: str, site: str) -> ReceiverEnd:
        return node.peer(pid).new_receiver(name, self._contract.text, site)

    @staticmethod
    def _is_open(end: Any) -> bool:
        return bool(end.machine.state == "open" or len(end.machine))


def _window(capacity: int | str | None) -> tuple[int, int]:
    """Bytes and messages."""
    if capacity is None:
        return channel.WINDOW_BYTES, channel.WINDOW_MESSAGES
    if isinstance(capacity, str):
        return max(1, parse_memory(capacity)), channel.WINDOW_MESSAGES
    if isinstance(capacity, int) and capacity > 0:
        return UNBOUNDED_BYTES, capacity
    raise UsageError(f"a capacity is a number of messages from 1, or bytes as text; found {capacity!r}")
