"""Erlang's half: processes that end together, notices of ends, names."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, overload

from cmpi._base.brief import brief
from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_links import LinkWith, Register, Unregister, WhereIs
from cmpi._runtime.process import context
from cmpi.errors import NameTaken, UsageError
from cmpi.identifiers import NO_PID, Pid
from cmpi.processes.notices import Notices, other_process

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node


class _NoWait(enum.Enum):
    NO_WAIT = 0


def link(pid: Pid) -> None:
    """Link this process with another: if one ends other than normally, so does the other.

    Normally is with code 0. The other is ended with SIGTERM, then SIGKILL, which its status explains,
    and which is not counted as a failure of its own. Linking again does nothing; with a process that
    has ended already this one fails, with that as its reason. `spawn(..., link=True)` leaves no moment
    in between.

    Blocks: for one answer; then it holds. Source: Erlang `link/1`; there too the link is of both, and a
    process that calls `trap_exits` gets a notice instead.
    """
    node = _node(pid)
    with node.lock:
        node.exits.tied(pid.value, True)
    node.root.tell(LinkWith(pid.value, True))
    node.root.ask(process_root.AskCapacity)  # answered behind it: what we do next cannot overtake the link


def unlink(pid: Pid) -> None:
    """Undo `link`, whoever of the two called it. Blocks: never. Source: Erlang `unlink/1`."""
    node = _node(pid)
    with node.lock:
        node.exits.tied(pid.value, False)
    node.root.tell(LinkWith(pid.value, False))


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
    node.exits.trap(on)
    return Notices(node, linked=on)


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
        raise UsageError(f"a name is text, and not empty; found {brief(name)}")
    node = context.current()
    who = node.pid if pid is None else pid
    owner = node.root.ask(lambda request: Register(request, name, who.value)).pid
    if owner == NO_PID:
        raise UsageError(f"{who} has ended, and cannot be given the name {name!r}")
    if owner != who.value:
        raise NameTaken(f"the name {name!r} is that of {Pid(owner)}; it is free when that has ended")


def unregister(name: str) -> None:
    """Take a name away, from whoever has it. Blocks: never. Source: Erlang `unregister/1`."""
    context.current().root.tell(Unregister(name))


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
        found = node.root.ask(lambda request: WhereIs(request, name, False)).pid
        if found != NO_PID:
            return Pid(found)
        if isinstance(timeout, _NoWait):
            return None
        raise TimeoutError(f"no process has the name {name!r}")
    what = f"a process named {name!r}"
    try:
        found = node.root.ask(lambda request: WhereIs(request, name, True), timeout, what).pid
    except TimeoutError:
        raise TimeoutError(f"no process had the name {name!r} within {timeout} s") from None
    return Pid(found)


def _node(pid: Pid) -> Node:
    node = context.current()
    other_process(node, pid)
    return node
