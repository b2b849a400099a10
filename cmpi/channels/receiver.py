"""`Receiver`: the receiving end of a channel."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._runtime.process.channel_ends import NOTHING
from cmpi.channels.any_receiver import AnyReceiver
from cmpi.channels.byte_files import ByteReader
from cmpi.channels.end import Endpoint
from cmpi.errors import EndOfChannel, UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.channel_ends import ReceiverEnd
    from cmpi._runtime.process.wait_registry import Wait

T = TypeVar("T")
LONG_S = 0.01  # a timeout from which on two milliseconds more do not count


class Receiver(Endpoint[T]):
    """The receiving end of the channel from `pid` to this process.

    Opens at once. What was sent before this end was made is kept, as far as the channel's window
    reaches; then the sender waits. With the last reference to it, it closes.

    Args:
        pid: The sending process; not this one.
        name: Tells several channels between the same two processes apart.

    Raises:
        ChannelExists: There is an open receiver with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    Iterating gives the messages until the sender closes. One thread at a time.
    Source: as `Sender`.
    """

    _end: ReceiverEnd

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
        if out is None:
            value: T = end.recv_now()
            if value is not NOTHING:
                return value
        else:
            end.refuse_in_loop()
        with self._lock:
            if end.busy or not end.machine.inbox:
                self._begin()
                try:
                    if out is not None:
                        end.look()
                    self._await_message(timeout)
                finally:
                    end.busy = False
            if out is not None:
                self._copy_to(out)
            message = self._take()
        if out is not None:
            return out  # type: ignore[no-any-return]
        return self._finish(message)

    def _await_message(self, timeout: float | None) -> None:
        """Wait for one, or for an error."""
        end = self._end
        if not end.readable and (timeout is None or timeout > LONG_S):
            self._lane.ring_inbox.look_on(lambda: end.readable)
        if end.readable:
            return
        with self._waiting(timeout):
            came = end.changed.wait_for(lambda: end.readable, timeout)
        if not came:
            raise TimeoutError(f"nothing came from {end.pid} within {timeout} s")

    def _waiting(self, timeout: float | None) -> Wait:
        end = self._end
        return self._node.waits.on("recv from", [end.pid], timeout, lambda: end.readable)

    @classmethod
    def any(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One receiver for many processes, which takes new ones later: see `AnyReceiver`."""
        return AnyReceiver(cls, pids, name)

    def _ready(self) -> bool:
        return self._end.readable

    def _complete(self) -> Any:
        return self._take()

    def _finish(self, message: Any) -> T:
        value: T = self._end.unpack(message)
        return value

    async def arecv(self, *, out: Any = None) -> T:
        """As `recv`, in an event loop; `asyncio.wait_for` bounds it. Cancelled, it loses no message."""
        with self._lock:
            self._begin()
        try:
            message = None
            while message is None:
                await self._end.changed.until(self._waiting(None))
                with self._lock:
                    if self._end.readable:
                        if out is not None:
                            self._copy_to(out)
                        message = self._take()
        finally:
            self._end.busy = False
        return out if out is not None else self._finish(message)

    def try_recv(self, default: Any = None) -> T | Any:
        """The next message if there is one now, else `default`.

        Raises: as `recv`, but never TimeoutError. Blocks: never.
        """
        with self._lock:
            if self._end.busy:
                self._begin()  # which says so
            if not self._end.readable:
                self._lane.ring_inbox.look(0.0)
                if not self._end.readable:
                    return default
            message = self._take()
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
        with self._lock:
            self._end.close()

    def _take(self) -> Any:
        """The oldest message, or what must be raised. With the lock."""
        end = self._end
        if end.mismatch is None:
            message = end.take()
            if message is not None:
                return message
        if end.machine.state == "ended":
            self._peer.forget(end)
        raise end.error()

    def _copy_to(self, out: Any) -> None:
        """Copy the array that is to be taken next, if there is one, into `out`. With the lock."""
        import numpy as np

        if self._end.mismatch is not None or not self._end.machine.inbox:
            return
        value = self._finish(self._end.machine.inbox[0][0])
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (out.shape, out.dtype):
            found = (
                f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            )
            raise UsageError(
                f"out= is an array of {out.dtype} {out.shape}, the next message is {found}; it can still "
                "be received"
            )
        np.copyto(out, value)

    def makefile(self: Receiver[bytes]) -> io.BufferedReader:
        """A binary file to read from: all that is sent, to its sender's close; closing it closes this
        receiver. Its `read` blocks and raises as `recv`."""
        return ByteReader(self)

    def _open(self, name: str, contract: Contract, site: str) -> ReceiverEnd:
        return self._peer.new_receiver(name, contract, site)

    def _other(self, name: str) -> ReceiverEnd | None:
        return self._peer.open_receiver(name)
