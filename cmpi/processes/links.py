"""Erlang's half: processes that end together, notices of ends, names."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, NamedTuple, overload

from cmpi._core.protocol import frames, relation_frames
from cmpi._runtime.process import context
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.errors import ChannelBusy, EndOfChannel, NameTaken, UsageError
from cmpi.identifiers import ExitStatus, Pid

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node
    from cmpi._runtime.process.wait_registry import Wait


class _NoWait(enum.Enum):
    NO_WAIT = 0


class Exited(NamedTuple):
    """A notice: this process has ended, and how."""

    pid: Pid
    status: ExitStatus


def link(pid: Pid) -> None:
    """Link this process with another: if one ends other than normally, so does the other.

    Normally is with code 0. The other is ended with SIGTERM, then SIGKILL, which its status explains,
    and which is not counted as a failure of its own. Linking again does nothing; with a process that
    has ended already this one ends as well. `spawn(..., link=True)` leaves no moment in between.

    Blocks: for one answer; then it holds. Source: Erlang `link/1`; there too the link is of both, and a
    process that calls `trap_exits` gets a notice instead.
    """
    node = _node(pid)
    with node.lock:
        node.tied(pid.value, True)
    node.tell_root(relation_frames.LinkWith(pid.value, True))
    node.ask_root(frames.AskCapacity)  # answered behind it: what we do next cannot overtake the link


def unlink(pid: Pid) -> None:
    """Undo `link`, whoever of the two called it. Blocks: never. Source: Erlang `unlink/1`."""
    node = _node(pid)
    with node.lock:
        node.tied(pid.value, False)
    node.tell_root(relation_frames.LinkWith(pid.value, False))


def monitor(*pids: Pid) -> Notices:
    """Notices of the ends of these processes, each one once; also of one that has ended already.

    Blocks: never. Source: Erlang `monitor/2`, whose message is here one of a receiver, so that `select`
    takes it too.
    """
    notices = Notices(context.current())
    for pid in pids:
        notices.add(pid)
    return notices


def trap_exits(on: bool = True) -> Notices:
    """From now on, do not end with those that this process is linked with; get notices instead.

    Returns:
        Notices of the ends of all that it is or will be linked with, the normal ones too.

    `cmpi.kill(pid)` ends a process all the same. With `on` False it ends with them again.
    Blocks: never. Source: Erlang `process_flag(trap_exit, true)`.
    """
    node = context.current()
    node.trap(on)
    return Notices(node, linked=on)


class Notices:
    """A receiver of notices that processes have ended. One thread or task at a time."""

    def __init__(self, node: Node, *, linked: bool = False) -> None:
        self._node = node
        self._wanted: set[int] = set()
        self._linked = linked
        self._told: set[int] = set()
        self._end = self  # to `select`, as the end of a channel
        self.busy = False
        self.changed = node.changed

    def add(self, pid: Pid) -> None:
        """Of this process too."""
        _node(pid).watch(pid)
        with self._node.lock:
            self._wanted.add(pid.value)

    def remove(self, pid: Pid) -> None:
        """Not of this one any more. Source: Erlang `demonitor/1`."""
        with self._node.lock:
            self._wanted.discard(pid.value)

    def recv(self, *, timeout: float | None = None) -> Exited:
        """The next notice.

        Raises:
            EndOfChannel: There was one for each process; for a receiver of `trap_exits` never.
            TimeoutError: None came within `timeout` seconds.

        Blocks: until there is one.
        """
        refuse_in_loop("recv()", "`await notices.arecv()`")
        with self._node.lock:
            self._begin()
            try:
                with self._waiting(timeout):
                    came = self.changed.wait_for(self._ready, timeout)
                if not came:
                    raise TimeoutError(f"nobody of them has ended within {timeout} s")
                return self._complete()
            finally:
                self.busy = False

    def _waiting(self, timeout: float | None) -> Wait:
        pids = [Pid(pid) for pid in sorted(self._wanted - self._told)]
        return self._node.waits.on("notice of the end of", pids, timeout, self._ready)

    async def arecv(self) -> Exited:
        """As `recv`, in an event loop."""
        with self._node.lock:
            self._begin()
        try:
            while True:
                await self.changed.until(self._waiting(None))
                with self._node.lock:
                    if self._ready():
                        return self._complete()
        finally:
            self.busy = False

    def __iter__(self) -> Iterator[Exited]:
        while True:
            try:
                notice = self.recv()
            except EndOfChannel:
                return
            yield notice

    async def __aiter__(self) -> AsyncIterator[Exited]:
        while True:
            try:
                notice = await self.arecv()
            except EndOfChannel:
                return
            yield notice

    # What `select` calls, with the lock held.

    def _begin(self) -> None:
        if self.busy:
            raise ChannelBusy("two threads or tasks wait for the same notices")
        self.busy = True

    def _next(self) -> int | None:
        linked = self._node.linked if self._linked else set()
        for pid in (self._wanted | linked) - self._told:
            if self._node.ended(pid) is not None:
                return pid
        return None

    def _ready(self) -> bool:
        return self._next() is not None or not (self._linked or self._wanted - self._told)

    def _complete(self) -> Exited:
        pid = self._next()
        if pid is None:
            raise EndOfChannel("all of them have ended")
        self._told.add(pid)
        status = self._node.ended(pid)
        assert status is not None
        return Exited(Pid(pid), status)

    def _finish(self, notice: Exited) -> Exited:
        return notice


def register(name: str, pid: Pid | None = None) -> None:
    """Give a process a name by which others find it, until it ends.

    Args:
        name: Any text but "".
        pid: The process; None for this one.

    Raises:
        NameTaken: Another living process has it. (Having it already is no error.)
        UsageError: There is no such process any more.

    Blocks: for one answer. Source: Erlang `register/2`; there a process has one name, here any number.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"a name is text, and not empty; found {name!r}")
    node = context.current()
    who = node.pid if pid is None else pid
    owner = node.ask_root(lambda request: relation_frames.Register(request, name, who.value)).pid
    if owner == frames.NO_PID:
        raise UsageError(f"{who} has ended, and cannot be given the name {name!r}")
    if owner != who.value:
        raise NameTaken(f"the name {name!r} is that of {Pid(owner)}; it is free when that has ended")


def unregister(name: str) -> None:
    """Take a name away, from whoever has it. Blocks: never. Source: Erlang `unregister/1`."""
    context.current().tell_root(relation_frames.Unregister(name))


@overload
def whereis(name: str) -> Pid | None: ...
@overload
def whereis(name: str, *, timeout: float | None) -> Pid: ...
def whereis(name: str, *, timeout: float | _NoWait | None = _NoWait.NO_WAIT) -> Pid | None:
    """The process that has this name.

    Args:
        name: What `register` gave it.
        timeout: How long to wait until a process has it, in seconds; None: for ever. Left out: not at all.

    Returns:
        The process. Without a timeout: None if no process has the name now.

    Raises:
        TimeoutError: No process had the name in time.

    Blocks: for that, and one answer. Source: Erlang `whereis/1`; the wait is ours, because a process that
    was restarted gets its name a moment later.
    """
    node = context.current()
    if isinstance(timeout, _NoWait) or timeout == 0:
        found = node.ask_root(lambda request: relation_frames.WhereIs(request, name, False)).pid
        if found != frames.NO_PID:
            return Pid(found)
        if isinstance(timeout, _NoWait):
            return None
        raise TimeoutError(f"no process has the name {name!r}")
    what = f"a process named {name!r}"
    try:
        found = node.ask_root(
            lambda request: relation_frames.WhereIs(request, name, True), timeout, what
        ).pid
    except TimeoutError:
        raise TimeoutError(f"no process had the name {name!r} within {timeout} s") from None
    return Pid(found)


def _node(pid: Pid) -> Node:
    if not isinstance(pid, Pid):
        raise UsageError(f"this takes a Pid; found {type(pid).__name__}: {pid!r}")
    node = context.current()
    if pid == node.pid:
        raise UsageError("a process is not linked with itself, nor hears of its own end")
    return node
