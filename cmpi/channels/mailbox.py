"""`Mailbox`: receives from any process of the job, even from processes that it does not know."""

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
    """Receives messages from any process of the job, in the order in which they arrive.

    Other processes send with `Sender[T].to(name)`, or with `Sender[T].to(pid)` if the mailbox has no name;
    `cmpi.call` sends a request and waits for the answer. Messages sent before the mailbox exists are kept.

    Args:
        name: A name to register for this process (see `cmpi.register`), by which others find the mailbox.
            None: the mailbox gets messages that are sent to this process by its Pid, or by a registered
            name for which it has no other mailbox.

    Raises:
        ChannelExists: This process already has a mailbox of that name, or without a name.
        NameTaken: Another living process has the name.
        NotRunning: This process is not part of a job.

    `Mailbox[T]` checks the type of messages, as channels do; `Mailbox[Call]` accepts only calls, `Mailbox`
    everything. A message counts as processed when the next one is asked for, or when the mailbox is closed
    normally; if the process ends before that, the sender gets an error. A mailbox does not notice the
    deaths of senders; use `cmpi.monitor` for that. It stays open until it is closed. Only one thread or
    task may use it at a time.
    Blocks: for the answer to `register`. Source: Erlang's message queue, but bounded and typed.
    """

    def __init__(self, name: str | None = None, *, _hint: object = Any, _key: str = "") -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise UsageError(f"a mailbox's name must be a non-empty string; found {name!r}")
        self._node, self.name = context.current(), name
        self.lock, self.busy = self._node.lock, False  # used by operations, like those of a channel end
        with self._node.lock:
            inlet = self._node.inlets.open(name or _key, Contract(_hint), call_site())
        if inlet is None:
            which = "a mailbox without a name" if name is None else f"a mailbox {name!r}"
            raise ChannelExists(f"this process already has {which}: use that one, or close it first")
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
        """Return the next message; a `Call` if its sender waits for an answer.

        Raises:
            TimeoutError: No message came within `timeout` seconds (None waits for ever).
            ChannelClosed: The mailbox was closed.

        Blocks: until there is a message.
        """
        return self.recv_from(timeout=timeout)[1]

    def recv_from(self, *, timeout: float | None = None) -> tuple[Pid, T]:
        """As `recv`, but returns a pair of the sender and the message."""
        refuse_in_loop("recv()", "`await mailbox.arecv()`")
        return MailReceiving[tuple[Pid, T]](self._node, self, self._inlet, sender_too=True).block(timeout)

    @property
    def readable(self) -> bool:
        """True if there is a message, or the mailbox was closed. With the lock."""
        return self._inlet.readable

    def try_recv(self, default: Any = None) -> T | Any:
        """Return the next message if there is one, else `default`. Raises: ChannelClosed. Blocks: never."""
        value = self._receiving.attempt()
        return default if value is NOT_READY else value

    async def arecv(self) -> T:
        """As `recv`, in an event loop. For a timeout use `asyncio.wait_for`; cancelling loses no
        message."""
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
        """Close the mailbox and release its name. Unread messages are dropped, and their senders are told.

        Closing again does nothing. Blocks: for one answer.
        """
        with self._node.lock:
            self._inlet.settle()
        self._close(None)

    def _close(self, error: BaseException | None) -> None:
        if self._inlet.closed:
            return
        if self.name is not None:
            unregister(self.name)
            # The name is released first: senders that learn of the end look for the next process with the
            # name, and must not find this one.
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
            self._close(error)  # the message that was being processed counts as lost

    def __repr__(self) -> str:
        return f"<Mailbox {'' if self.name is None else repr(self.name) + ' '}of {self._node.pid}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Mailbox belongs to its process and cannot be sent; send its name, or the Pid")

    @property
    def _receiving(self) -> MailReceiving[T]:
        return MailReceiving(self._node, self, self._inlet)
