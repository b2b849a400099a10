"""Kinds of interrupted calls that send or receive messages: channels, mailboxes, calls of servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cmpi
from cmpi import Mailbox, Pid, Receiver, Sender, select
from cmpi.bench.jobs.interrupting import Kind

LARGE = 20_000  # elements of an array that is not copied
MISSING: Any = object()


def _counts(parent: Pid) -> None:
    Sender[int](parent).send(sum(1 for _ in Receiver[Any](parent)))


class Sends(Kind):
    """Sends: the receiver must get what the sender counts as sent."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._pid = cmpi.spawn(_counts)
        self._sender = Sender[Any](self._pid)
        self._value: Any = np.zeros(LARGE) if how == "array" else (1, "x")

    def step(self) -> None:
        if self._how == "select":
            select(self._sender.sending(self._value))
        elif self._how == "try":
            self._sender.try_send(self._value)
        else:
            self._sender.send(self._value)

    def check(self) -> str:
        sent = self._sender.statistics().messages
        self._sender.close()
        got = Receiver[int](self._pid).recv()
        return "" if got == sent else f"{sent} messages were sent, {got} came"


def _numbers(send: Callable[[Any], object], stop: Receiver[Any], array: bool = False) -> int:
    i, value = 0, np.zeros(LARGE)
    while stop.try_recv() is None:
        value[0] = i
        send(value if array else i)
        i += 1
    return i


def _writes(parent: Pid, array: bool) -> None:
    with Sender[Any](parent) as sender:
        _numbers(sender.send, Receiver[Any](parent), array)


class Receives(Kind):
    """Receives: the received messages must be all numbers in order, before and after interrupts."""

    def __init__(self, how: str) -> None:
        self._how, self._got = how, list[Any]()
        self._pid = cmpi.spawn(_writes, how == "array")
        if how == "any":
            self._many = Receiver[Any].any([self._pid])
        else:
            self._receiver = Receiver[Any](self._pid)

    def step(self) -> None:
        # Nothing may come between the call and the list: a handler's exception there would lose the value.
        if self._how == "select":
            self._got.append(select(self._receiver)[1])
        elif self._how == "array":
            self._got.append(self._receiver.recv()[0])
        elif self._how == "any":
            self._got.append(self._many.recv()[1])
        elif self._how == "try":
            value = self._receiver.try_recv(MISSING)
            if value is not MISSING:
                self._got.append(value)
        else:
            self._got.append(self._receiver.recv())

    def check(self) -> str:
        Sender[Any](self._pid).send("stop")
        if self._how == "any":
            self._got += [value for _, value in self._many]
        else:
            rest = list(self._receiver)
            self._got += [value[0] for value in rest] if self._how == "array" else rest
        return _in_order(self._got)


def _in_order(got: list[Any]) -> str:
    for i, value in enumerate(got):
        if value != i:
            return f"{value} came in place of {i}"
    return ""


def _mails(parent: Pid) -> None:
    with Sender[Any].to(parent) as sender:
        n = _numbers(sender.send, Receiver[Any](parent))
        sender.flush()
    Sender[int](parent, name="sent").send(n)


class Mails(Kind):
    """As `Receives`, for a mailbox."""

    def __init__(self, how: str) -> None:
        self._how, self._got, self._mailbox = how, list[Any](), Mailbox[Any]()
        self._pid = cmpi.spawn(_mails)

    def step(self) -> None:
        if self._how == "select":
            self._got.append(select(self._mailbox)[1])
        elif self._how == "try":
            value = self._mailbox.try_recv(MISSING)
            if value is not MISSING:
                self._got.append(value)
        else:
            self._got.append(self._mailbox.recv())

    def check(self) -> str:
        Sender[Any](self._pid).send("stop")
        sent = Receiver[int](self._pid, name="sent")
        while True:
            receiver, value = select(self._mailbox, sent)
            if receiver is sent:
                break
            self._got.append(value)
        self._mailbox.close()
        return _in_order(self._got) or ("" if len(self._got) == value else f"{len(self._got)} of {value}")


def _serves(parent: Pid) -> None:
    mailbox, n = Mailbox[Any]("server"), 0
    for message in mailbox:
        if isinstance(message, cmpi.Call):
            message.reply(n if message.request is None else message.request)
        else:
            n += 1


def _end(server: Pid) -> None:
    """End a server. The next kind of call must not reach it by its name."""
    cmpi.kill(server)
    cmpi.wait(server)


class SendsMail(Kind):
    """As `Sends`, to a mailbox that is found by name."""

    def __init__(self, _: str) -> None:
        self._pid = cmpi.spawn(_serves)
        self._sender = Sender[Any].to("server")
        self._sender.send(0)

    def step(self) -> None:
        self._sender.send(0)

    def check(self) -> str:
        assert self._sender._sender is not None
        sent = self._sender._sender.statistics().messages
        self._sender.flush()
        got = cmpi.call("server", None)
        _end(self._pid)
        return "" if got == sent else f"{sent} messages were sent, {got} came"


class Calls(Kind):
    """Calls: every answer must belong to its request, whatever became of earlier requests."""

    def __init__(self, _: str) -> None:
        self._pid, self._fault, self._n = cmpi.spawn(_serves), "", 0

    def step(self) -> None:
        self._n += 1
        n = self._n
        answer = cmpi.call("server", n, timeout=None)
        if answer != n:
            self._fault = f"{answer} is the answer to {n}"

    def check(self) -> str:
        for _ in range(100):
            self.step()
        _end(self._pid)
        return self._fault


class Broadcasts(Kind):
    """Broadcasts: each receiver must get what was counted as sent to it."""

    def __init__(self, _: str) -> None:
        self._pids = [cmpi.spawn(_counts) for _ in range(2)]
        self._broadcast = Sender[Any].broadcast(self._pids)

    def step(self) -> None:
        self._broadcast.send((1, "x"))

    def check(self) -> str:
        sent = [sender.statistics().messages for sender in self._broadcast.senders]
        self._broadcast.close()
        got = [Receiver[int](pid).recv() for pid in self._pids]
        return "" if got == sent else f"{sent} messages were sent, {got} came"
