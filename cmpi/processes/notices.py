"""`Notices`: receives notices of ended processes; `monitor` and `trap_exits` return it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cmpi._base.brief import brief
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.channels.operation import Operation
from cmpi.errors import EndOfChannel, UsageError
from cmpi.identifiers import ExitStatus, Pid

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node


class Exited(NamedTuple):
    """A notice that a process has ended.

    Attributes:
        pid: The process.
        status: How it ended.
    """

    pid: Pid
    status: ExitStatus


class Notices:
    """A receiver of notices that processes have ended. Only one thread or task may use it at a time."""

    def __init__(self, node: Node, *, linked: bool = False) -> None:
        self._node = node
        self._wanted: set[int] = set()
        self._linked = linked
        self._told: set[int] = set()
        self.changed, self.lock = node.changed, node.lock  # used by operations, like those of a channel end
        self.busy = False

    def add(self, pid: Pid) -> None:
        """Also give a notice of this process's end."""
        other_process(self._node, pid)
        self._node.exits.watch(pid)
        with self._node.lock:
            self._wanted.add(pid.value)

    def remove(self, pid: Pid) -> None:
        """Give no notice of this process's end. Source: Erlang `demonitor/1`."""
        with self._node.lock:
            self._wanted.discard(pid.value)

    def recv(self, *, timeout: float | None = None) -> Exited:
        """Return the next notice.

        Raises:
            EndOfChannel: There has been a notice for each process. A receiver of `trap_exits` never ends.
            TimeoutError: No notice came within `timeout` seconds.

        Blocks: until there is a notice.
        """
        refuse_in_loop("recv()", "`await notices.arecv()`")
        return self._receiving.block(timeout)

    async def arecv(self) -> Exited:
        """As `recv`, in an event loop."""
        return await self._receiving.wait()

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

    @property
    def _receiving(self) -> NoticeReceiving:
        return NoticeReceiving(self._node, self, self)

    # With the node's lock held.

    @property
    def waited_for(self) -> list[Pid]:
        """The named processes of which a notice will come."""
        return [Pid(pid) for pid in sorted(self._wanted - self._told)]

    def next(self) -> Exited | None:
        """Take the next notice, if there is one."""
        linked = self._node.exits.linked if self._linked else set()
        for pid in (self._wanted | linked) - self._told:
            status = self._node.exits.ended(pid)
            if status is not None:
                return Exited(Pid(pid), status)
        return None

    @property
    def over(self) -> bool:
        """True if no further notice will ever come."""
        return not self._linked and not self._wanted - self._told

    def told(self, notice: Exited, on: bool) -> None:
        """Note that this notice was returned to the program; with `on` False, that it was not after all."""
        (self._told.add if on else self._told.discard)(notice.pid.value)


class NoticeReceiving(Operation[Exited]):
    """One receive of a notice."""

    kind = "notice of the end of"
    owner: Notices

    @property
    def pids(self) -> list[Pid]:
        return self.owner.waited_for

    @property
    def given(self) -> Any:
        return self.owner

    def ready(self) -> bool:
        return self.owner.over or self.owner.next() is not None

    def look(self, timeout_s: float | None) -> None:
        """Do nothing: only the progress thread learns of ends."""

    def complete(self) -> Exited:
        notice = self.owner.next()
        if notice is None:
            raise EndOfChannel("every monitored process has ended, and all notices have been received")
        self.owner.told(notice, True)
        return notice

    def finish(self, result: Exited) -> Exited:
        if not result.status.ok:
            self.node.root.looked_at(result.pid)
        return result

    def undo(self, result: Exited, error: BaseException) -> None:
        with self.end.lock:
            self.owner.told(result, False)

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"none of the monitored processes has ended within {timeout_s} s")


def other_process(node: Node, pid: Pid) -> None:
    """Check a Pid. Raises: UsageError: It is not a Pid, or it is this process's own."""
    if not isinstance(pid, Pid):
        raise UsageError(f"expected a Pid; found {type(pid).__name__}: {brief(pid)}")
    if pid == node.pid:
        raise UsageError("a process cannot link with itself or monitor itself")
