"""Requests with answers: `call`, and the `Call` that a mailbox receives."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cmpi._core.protocol.process_process import RESERVED
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.channels.mail_sender import GONE, MailSender, Route
from cmpi.channels.receiver import Receiver
from cmpi.channels.sender import Sender
from cmpi.errors import EndOfChannel, PeerClosed, UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi._runtime.process.wait_registry import Wait

_numbers = itertools.count()


class Call:
    """A request whose sender waits for an answer: answer it with `reply` or `fail`.

    If it is dropped without an answer, the caller gets `PeerClosed`.

    Attributes:
        request: The value given to `cmpi.call`.
        sender: The process that made the call.
    """

    def __init__(self, request: Any, channel: str) -> None:
        self.request, self._channel = request, channel
        self.sender: Pid
        self._answer: Sender[tuple[bool, Any]] | None = None

    def __reduce__(self) -> Any:
        return Call, (self.request, self._channel)

    def accept(self, sender: Pid) -> None:
        """Note the process that made the call."""
        self.sender, self._answer = sender, Sender[Any](sender, name=self._channel)

    def reply(self, value: Any = None) -> None:
        """Answer the call. It is not an error if the caller has stopped waiting or has ended.

        Raises:
            NotPicklable: The value cannot be sent; the call can still be answered.
            UsageError: The call has already been answered.

        Blocks: only to send large buffers.
        """
        self._send(True, value)

    def fail(self, error: Exception) -> None:
        """Answer the call with an error, which `call` raises. Raises, blocks: as `reply`."""
        self._send(False, error)

    def _send(self, well: bool, value: Any) -> None:
        if self._answer is None:
            raise UsageError("this call has already been answered; a call has only one answer")
        with suppress(*GONE):
            self._answer.try_send((well, value))
        self._answer.close()
        self._answer = None

    def __repr__(self) -> str:
        return f"<Call from {getattr(self, 'sender', None)}: {self.request!r}>"


def call(to: str | Pid, request: Any, *, timeout: float | None = 5.0, _key: str | None = None) -> Any:
    """Send a request to a mailbox and return the answer.

    Args:
        to: The mailbox's name, or the Pid of the process if its mailbox has no name.
        request: A value, which the mailbox's process receives as `Call.request`.
        timeout: Longest wait, in seconds, for a process with that name and for its answer. None: for ever.

    Raises:
        TimeoutError: No answer came in time; a late answer is dropped.
        PeerExited: The process ended before it answered.
        PeerClosed: It closed its mailbox or dropped the call.
        PeerFailed: It did so because of an exception.
        Exception: The error that it gave to `Call.fail`.

    Blocks: until the answer comes. Source: Erlang/OTP `gen_server:call/3`, with its timeout of 5 s.
    """
    refuse_in_loop("call()", "`await cmpi.acall(...)`")
    end_s = None if timeout is None else time.monotonic() + timeout

    def left_s() -> float | None:
        return None if end_s is None else max(0.0, end_s - time.monotonic())

    route = Route[Call](to, Call, key=_key)
    try:
        while True:
            with _Question(route, route.open(left_s()), request) as question:
                try:
                    question.sender.send(question.call, timeout=left_s())
                except GONE as error:
                    # It was not sent, and goes to the next process with that name.
                    route.failed(question.sender, error)
                    continue
                return question.answer(left_s())
    except TimeoutError as error:
        raise TimeoutError(f"no answer from {to!s} within {timeout} s") from error


async def acall(to: str | Pid, request: Any, *, timeout: float | None = 5.0) -> Any:
    """As `call`, in an event loop."""

    route = Route[Call](to, Call)

    async def ask() -> Any:
        while True:
            with _Question(route, await route.aopen(), request) as question:
                try:
                    await question.sender.asend(question.call)
                except GONE as error:
                    route.failed(question.sender, error)
                    continue
                return await question.aanswer()

    try:
        return await asyncio.wait_for(ask(), timeout)
    except asyncio.TimeoutError:
        raise TimeoutError(f"no answer from {to!s} within {timeout} s") from None


class _Question:
    """The caller's side of a call, with the channel for its answer."""

    def __init__(self, route: Route[Call], sender: MailSender[Call], request: Any) -> None:
        name = f"{RESERVED}answer {next(_numbers)}"
        self._route, self.sender, self._name, self._node = route, sender, name, sender._node
        self.call = Call(request, name)
        self._receiver: Receiver[tuple[bool, Any]] = Receiver[Any](sender.pid, name=name)
        self._answered = False

    def __enter__(self) -> _Question:
        return self

    def __exit__(self, *_: object) -> None:
        self.sender.close()
        self._receiver.close()
        if not self._answered:
            with self._node.lock:
                self._node.inlets.refuse(self.sender._peer, self._name)

    def _ready(self) -> bool:
        end = self.sender._end
        return self._receiver._end.readable or end.mismatch is not None or end.machine.state != "open"

    def _waiting(self, timeout: float | None) -> Wait:
        return self._node.waits.on("an answer from", [self.sender.pid], timeout, self._ready)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Wake the waiting caller when something happens to its request."""
        wake = self._receiver._end.changed.notify_all
        with self._node.lock:
            self.sender._end.changed.watch(wake)
        try:
            yield
        finally:
            with self._node.lock:
                self.sender._end.changed.unwatch(wake)

    def answer(self, timeout: float | None) -> Any:
        """Wait for the answer. Raises: TimeoutError, and as `call`."""
        end = self._receiver._end
        with self._watching(), self._node.lock:
            end.look()
            if not self._ready():
                with self._waiting(timeout):
                    if not end.changed.wait_for(self._ready, timeout):
                        raise TimeoutError
        return self._take()

    async def aanswer(self) -> Any:
        """As `answer`, in an event loop."""
        with self._watching():
            await self._receiver._end.changed.until(self._waiting(None))
        return self._take()

    def _take(self) -> Any:
        with self._node.lock:
            if not self._receiver._end.readable:
                self._route.forget()
                raise self.sender._end.error()
        self._answered = True
        try:
            well, value = self._receiver.try_recv()
        except EndOfChannel:
            raise PeerClosed(f"{self.sender.pid} has dropped the call without answering it") from None
        if not well:
            raise value
        return value
