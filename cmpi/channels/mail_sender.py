"""Sending to mailboxes: `Sender.to`."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from cmpi._core.protocol import process_process
from cmpi._core.protocol.process_root_links import NameIs, WhereIs
from cmpi._runtime.process import context
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi._runtime.process.inlets import MAILBOX
from cmpi.channels.base_sender import BaseSender
from cmpi.errors import MessagesLost, PeerClosed, PeerExited, PeerFailed, UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import SenderEnd
    from cmpi._runtime.process.node import Node

T = TypeVar("T")
GONE = PeerExited, PeerClosed, PeerFailed  # the process with the mailbox has ended, closed or aborted it
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0  # before a process that refused is tried again


class MailSender(BaseSender[T]):
    """A channel into a mailbox; a process may have several into the same one."""

    def _other(self, name: str) -> SenderEnd | None:
        return None


class Route(Generic[T]):
    """Finds the process that has a mailbox and opens a channel to it; finds the next one when that ends.

    Args:
        to: The mailbox's name, or the process if its mailbox has no name.
        hint: The type of the messages.
        capacity: As for `Sender`.
        key: Which of that process's mailboxes. None: the one with the name.
    """

    def __init__(
        self, to: str | Pid, hint: object, capacity: int | str | None = None, *, key: str | None = None
    ) -> None:
        self._key = key if key is not None else to if isinstance(to, str) else ""
        if not isinstance(to, (str, Pid)) or not to:
            raise UsageError(
                f"a mailbox is found by its name, or by the Pid of its process; found {to!r}"
                + (". Did whereis() find nobody?" if to is None else "")
            )
        self.to, self._hint, self._capacity = to, hint, capacity
        self.node: Node = context.current()
        self._failed: Pid | None = None  # the process that refused last
        self._pause_s = FIRST_PAUSE_S

    @property
    def named(self) -> bool:
        """Whether the mailbox has a name, so that another process may have it next."""
        return isinstance(self.to, str)

    def _ask(self, request: int) -> WhereIs:
        return WhereIs(request, str(self.to), True)

    def open(self, timeout_s: float | None) -> MailSender[T]:
        """Open a channel to the process that has the mailbox. Raises: TimeoutError. Blocks: until one has
        it."""
        if isinstance(self.to, Pid):
            return self._channel(self.to)
        what = f"a process named {self.to!r}"
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _left_s(end_s)
            pid = self._known() or self._found(self.node.root.ask(self._ask, left_s, what))
            if pid != self._failed:
                return self._channel(pid)
            self._failed = None
            self.forget()
            try:
                self.node.exits.wait_exit(pid, self._next_pause_s())
            except TimeoutError:
                pass

    async def aopen(self) -> MailSender[T]:
        """As `open`, in an event loop."""
        if isinstance(self.to, Pid):
            return self._channel(self.to)
        while True:
            what = f"a process named {self.to!r}"
            pid = self._known() or self._found(await self.node.root.ask_async(self._ask, what))
            if pid != self._failed:
                return self._channel(pid)
            self._failed = None
            self.forget()
            await asyncio.sleep(self._next_pause_s())

    def _known(self) -> Pid | None:
        """The process that last had the name, if it still lives; this saves asking the root for each
        call."""
        with self.node.lock:
            holder = self.node.inlets.holders.get(str(self.to))
            return None if holder is None or self.node.exits.ended(holder) is not None else Pid(holder)

    def forget(self) -> None:
        """Make the next call ask again which process has the name."""
        self.node.inlets.holders.pop(str(self.to), None)

    def _found(self, answer: NameIs) -> Pid:
        with self.node.lock:
            self.node.inlets.holders[str(self.to)] = answer.pid
        return Pid(answer.pid)

    def _next_pause_s(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s

    def _channel(self, pid: Pid) -> MailSender[T]:
        if pid == self.node.pid:
            raise UsageError(
                f"the mailbox {self.to!s} belongs to this process itself; use a queue.Queue instead"
            )
        return MailSender(pid, name=MAILBOX + self._key, capacity=self._capacity, _hint=self._hint)

    def failed(self, sender: MailSender[T], error: PeerExited | PeerClosed | PeerFailed) -> None:
        """The mailbox's process has ended or closed it: prepare to look for the next process.

        Raises:
            MessagesLost: Messages had not been processed.
            PeerExited, PeerClosed, PeerFailed: `error`, if the mailbox has no name and hence no next
                process.
        """
        with self.node.lock:
            n = sender._end.machine.in_flight_messages
            self.forget()
        self._failed = sender.pid
        sender.close()
        if not self.named:
            raise error
        if n:
            raise MessagesLost(str(self.to), sender.pid, getattr(error, "status", None), n) from error


class NamedSender(Generic[T]):
    """Sends to the mailbox of a name, whichever process has it: `Sender[T].to(name)` creates it.

    It waits until a process has the name. When that process ends or closes its mailbox, it goes on with the
    next process that has the name. Only one thread or task may use it at a time.
    """

    def __init__(self, to: str | Pid, hint: object, capacity: int | str | None = None) -> None:
        self._route: Route[T] = Route(to, hint, capacity)
        self._sender: MailSender[T] | None = None

    @property
    def pid(self) -> Pid | None:
        """The process that got the last message; None if there was none yet, or it has ended since."""
        return None if self._sender is None else self._sender.pid

    def send(self, value: T, *, timeout: float | None = None) -> None:
        """Send a value to the mailbox.

        Args:
            value: As for `Sender.send`.
            timeout: Longest wait, in seconds, for a process that has the name and for room in its mailbox.

        Raises:
            MessagesLost: The process with the name ended, or closed its mailbox, before it had processed
                all messages. This value was not sent. The error is raised once: the next send goes to the
                next process that has the name.
            TimeoutError: No process has the name, or the mailbox is full; the value was not sent.
            PeerExited, PeerClosed, PeerFailed: As for `Sender.send`, for a mailbox addressed by Pid.
            ContractMismatch, NotPicklable: As for `Sender.send`.

        Blocks: until there is room.
        """
        refuse_in_loop("send()", "`await sender.asend(value)`")
        end_s = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                if self._sender is None:
                    self._sender = self._route.open(_left_s(end_s))
                return self._sender.send(value, timeout=_left_s(end_s))
            except GONE as error:
                self._lost(error)
            except TimeoutError as error:
                raise TimeoutError(
                    f"nothing could be sent to {self._route.to} within {timeout} s"
                ) from error

    async def asend(self, value: T) -> None:
        """As `send`, in an event loop. For a timeout use `asyncio.wait_for`."""
        while True:
            if self._sender is None:
                self._sender = await self._route.aopen()
            try:
                return await self._sender.asend(value)
            except GONE as error:
                self._lost(error)

    def _lost(self, error: PeerExited | PeerClosed | PeerFailed) -> None:
        sender, self._sender = self._sender, None
        assert sender is not None
        self._route.failed(sender, error)

    def flush(self, *, timeout: float | None = None) -> None:
        """Wait until all messages have been processed: the reader has asked for the next one after each.

        Raises:
            MessagesLost: The process ended, or closed its mailbox, before that.
            PeerExited, PeerClosed, PeerFailed: The same, for a mailbox addressed by Pid.
            TimeoutError: Messages remain after `timeout` seconds.

        Blocks: until then.
        """
        refuse_in_loop("flush()", "`await asyncio.to_thread(sender.flush)`")
        sender = self._sender
        if sender is None:
            return
        end, machine = sender._end, sender._end.machine
        end_s = None if timeout is None else time.monotonic() + timeout
        with self._route.node.lock:
            while machine.in_flight_messages and machine.state == "open" and end.mismatch is None:
                before = machine.in_flight_messages
                end.peer.connection.post(process_process.AskCredit(end.number))

                def moved(before: int = before) -> bool:
                    left = machine.in_flight_messages < before
                    return left or machine.state != "open" or end.mismatch is not None

                left_s = _left_s(end_s)
                with self._route.node.waits.on("flush to", [end.pid], left_s, moved):
                    if not end.changed.wait_for(moved, left_s):
                        raise TimeoutError(
                            f"{machine.in_flight_messages} messages to {self._route.to} wait"
                        )
            if not machine.in_flight_messages:
                return
            error = end.error()
        if not isinstance(error, GONE):
            raise error
        self._lost(error)

    def close(self) -> None:
        """Close the sender; messages already sent are delivered. Call `flush` first to learn of losses.

        Blocks: never.
        """
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def __enter__(self) -> NamedSender[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Sender.to({self._route.to!r})>"


def _left_s(end_s: float | None) -> float | None:
    return None if end_s is None else max(0.0, end_s - time.monotonic())
