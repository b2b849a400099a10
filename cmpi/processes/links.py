"""Features from Erlang: links between processes, notices of their ends, and names."""

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
    """Link this process with another: if one of them ends abnormally, the other is ended too.

    A normal end has exit code 0. The other process gets SIGTERM, then SIGKILL; its status gives the reason,
    and its end does not count as a failure of its own. Linking twice does nothing. Linking with a process
    that has already ended makes this process fail, with that as the reason. `spawn(..., link=True)` links
    without a gap.

    Blocks: for one answer; then the link is in force. Source: Erlang `link/1`, where links are also
    symmetric, and a process that calls `trap_exits` gets a notice instead.
    """
    node = _node(pid)
    with node.lock:
        node.exits.tied(pid.value, True)
    node.root.tell(LinkWith(pid.value, True))
    node.root.ask(process_root.AskCapacity)  # its answer shows that the root has processed the link


def unlink(pid: Pid) -> None:
    """Undo `link`, whichever of the two processes called it. Blocks: never. Source: Erlang `unlink/1`."""
    node = _node(pid)
    with node.lock:
        node.exits.tied(pid.value, False)
    node.root.tell(LinkWith(pid.value, False))


def monitor(*pids: Pid) -> Notices:
    """Return a receiver of notices: one for the end of each of these processes, even if it has already
    ended.

    Blocks: never. Source: Erlang `monitor/2`; here the notices come from a receiver, which `select`
    accepts.
    """
    notices = Notices(context.current())
    for pid in pids:
        notices.add(pid)
    return notices


def trap_exits(on: bool = True) -> Notices:
    """From now on, get notices when linked processes end, instead of ending with them.

    Returns:
        A receiver of notices of the ends, normal or not, of all processes with which this one is or will
        be linked.

    `cmpi.kill(pid)` still ends this process. `trap_exits(False)` restores the default.
    Blocks: never. Source: Erlang `process_flag(trap_exit, true)`.
    """
    node = context.current()
    node.exits.trap(on)
    return Notices(node, linked=on)


def register(name: str, pid: Pid | None = None) -> None:
    """Give a process a name, by which others find it until it ends.

    Args:
        name: Any string except "".
        pid: The process; None for this one.

    Raises:
        NameTaken: Another living process has the name. (It is not an error if the process itself has it.)
        UsageError: The process has ended.

    Blocks: for one answer. Source: Erlang `register/2`; there a process has one name, here any number.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"a name must be a non-empty string; found {brief(name)}")
    node = context.current()
    who = node.pid if pid is None else pid
    owner = node.root.ask(lambda request: Register(request, name, who.value)).pid
    if owner == NO_PID:
        raise UsageError(f"{who} has ended, so it cannot be given the name {name!r}")
    if owner != who.value:
        raise NameTaken(
            f"the name {name!r} belongs to {Pid(owner)}, until that process ends; choose another"
        )


def unregister(name: str) -> None:
    """Release a name, whichever process has it. Blocks: never. Source: Erlang `unregister/1`."""
    context.current().root.tell(Unregister(name))


@overload
def whereis(name: str) -> Pid | None: ...
@overload
def whereis(name: str, *, timeout: float | None) -> Pid: ...
def whereis(name: str, *, timeout: float | _NoWait | None = _NoWait.NO_WAIT) -> Pid | None:
    """Return the process that has this name.

    Args:
        name: A name given by `register`.
        timeout: How long to wait until a process has the name, in seconds; None: for ever. Without this
            argument it does not wait.

    Returns:
        The process. Without `timeout`: None if no process has the name now.

    Raises:
        TimeoutError: No process had the name in time.

    Blocks: for that time, and for one answer. Source: Erlang `whereis/1`; the timeout is an addition,
    because a restarted process gets its name a moment later.
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
