"""`Mailbox`: receives from any process of the job, also ones it did not know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cmpi._core.channel.contract import Contract
from cmpi._core.protocol import process_root
from cmpi._runtime.process import context
from cmpi._runtime.process.aborts import ends_in_order
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi._runtime.process.wait_registry import call_site
from cmpi.channels.mail_receiving import MailReceiving
from cmpi.channels.operation import NOT_READY
from cmpi.errors import ChannelClosed, ChannelExists, UsageError
from cmpi.identifiers import Pid
from cmpi.processes.links import register, unregister

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Receives what any process of the job sends to it, in the order in which it comes.

    Who sends opens it by `Sender[T].to(name)`, or by `Sender[T].to(pid)` where it has no name; `cmpi.call`
    sends a request and waits for the answer. What was sent before the mailbox was made is kept for it.

    Args:
        name: Registered for this process (see `cmpi.register`), so that others find it. None: for what is
            sent to this process by its Pid, or by a name of it for which it has no other mailbox.

    Raises:
        ChannelExists: This process has a mailbox of that name, or without one, already.
        NameTaken: Another living process has the name.
        NotRunning: This process is not part of a job.

    `Mailbox[T]` checks what is sent, as channels do; `Mailbox[Call]` takes calls alone, `Mailbox` all. A
    message counts as read when the next one is asked for, or when the mailbox is closed in order: if the
    process ends before that, its sender is told. The death of a sender is no event here; `cmpi.monitor`
    tells. It stays open until it is closed. One thread or task at a time.
    Blocks: for the answer to `register`. Source: Erlang's message queue, but bounded and typed.
    """

    def __init__(self, name: str | None = None, *, _hint: object = Any, _key: str = "") -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise UsageError(f"a mailbox's name is text, and not empty; found {name!r}")
        self._node, self.name = context.current(), name
        self.lock, self.busy = self._node.lock, False  # to an operation, as the end of a channel
        with self._node.lock:
            inlet = self._node.inlets.open(name or _key, Contract(_hint), call_site())
        if inlet is None:
            which = "a mailbox without a name" if name is None else f"a mailbox {name!r}"
            raise ChannelExists(f"this process has {which} already: use that one, or close it first")
        self._inlet, self.changed = inlet, inlet.changed
        if name is not None:
            try:
                register(name)
            except BaseException:
                with self._node.lock:
                    inlet.close(None)
                raise

    if not TYPE_CHECKING:

        def __class_getitem__(cls, hint: object) -> object:
            if isinstance(hint, TypeVar):
                return super().__class_getitem__(hint)
            return partial(cls, _hint=hint)

    def recv(self, *, timeout: float | None = None) -> T:
        """The next message; a `Call` if its sender waits for an answer.

        Raises:
            TimeoutError: None came within `timeout` seconds; None waits for ever.
            ChannelClosed: The mailbox was closed.

        Blocks: until there is one.
        """
        return self.recv_from(timeout=timeout)[1]

    def recv_from(self, *, timeout: float | None = None) -> tuple[Pid, T]:
        """As `recv`: who sent the next message, and the message."""
        refuse_in_loop("recv()", "`await mailbox.arecv()`")
        return MailReceiving[tuple[Pid, T]](self._node, self, self._inlet, sender_too=True).block(timeout)

    @property
    def readable(self) -> bool:
        """True if there is a message, or the mailbox was closed. With the lock."""
        return self._inlet.readable

    def try_recv(self, default: Any = None) -> T | Any:
        """The next message if there is one now, else `default`. Raises: ChannelClosed. Blocks: never."""
        value = self._receiving.attempt()
        return default if value is NOT_READY else value

    async def arecv(self) -> T:
        """As `recv`, in an event loop; `asyncio.wait_for` bounds it. Cancelled, it loses no message."""
        return (await self.arecv_from())[1]

    async def arecv_from(self) -> tuple[Pid, T]:
        """As `recv_from`, in an event loop."""
        return await MailReceiving[tuple[Pid, T]](self._node, self, self._inlet, sender_too=True).wait()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                message = self.recv()
            except ChannelClosed:
                return
            yield message

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                message = await self.arecv()
            except ChannelClosed:
                return
            yield message

    def close(self) -> None:
        """Receive nothing more, and give the name up. What was not received is dropped, of which its
        senders learn. Closing again does nothing. Blocks: for one answer."""
        with self._node.lock:
            self._inlet.settle()
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        if self._inlet.closed:
            return
        if self.name is not None:
            unregister(self.name)
            # Answered behind it: those who learn of the end look for the next holder, and do not find us.
            self._node.root.ask(process_root.AskCapacity)
        with self._node.lock:
            self._inlet.close(error)

    def __enter__(self) -> Mailbox[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if ends_in_order(error):
            self.close()
        else:
            self._close(error)  # the message that was being dealt with counts as lost

    def __repr__(self) -> str:
        return f"<Mailbox {'' if self.name is None else repr(self.name) + ' '}of {self._node.pid}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Mailbox belongs to its process and cannot be sent; send its name, or the Pid")

    @property
    def _receiving(self) -> MailReceiving[T]:
        return MailReceiving(self._node, self, self._inlet)
