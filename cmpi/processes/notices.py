"""Notices that processes have ended: what `monitor` and `trap_exits` return."""

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
    """A notice: this process has ended, and how."""

    pid: Pid
    status: ExitStatus


class Notices:
    """A receiver of notices that processes have ended. One thread or task at a time."""

    def __init__(self, node: Node, *, linked: bool = False) -> None:
        self._node = node
        self._wanted: set[int] = set()
        self._linked = linked
        self._told: set[int] = set()
        self.changed, self.lock = node.changed, node.lock  # to an operation, as the end of a channel
        self.busy = False

    def add(self, pid: Pid) -> None:
        """Of this process too."""
        other_process(self._node, pid)
        self._node.exits.watch(pid)
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
        """Those of whose end it will tell, as far as they were named."""
        return [Pid(pid) for pid in sorted(self._wanted - self._told)]

    def next(self) -> Exited | None:
        """The next notice, if there is one; it is told once."""
        linked = self._node.exits.linked if self._linked else set()
        for pid in (self._wanted | linked) - self._told:
            status = self._node.exits.ended(pid)
            if status is not None:
                return Exited(Pid(pid), status)
        return None

    @property
    def over(self) -> bool:
        """True if there will never be one."""
        return not self._linked and not self._wanted - self._told

    def told(self, notice: Exited, on: bool) -> None:
        """This notice was handed out; or, not `on`, it was not after all."""
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
        """Only the progress thread hears of ends."""

    def complete(self) -> Exited:
        notice = self.owner.next()
        if notice is None:
            raise EndOfChannel("all of them have ended")
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
        return TimeoutError(f"nobody of them has ended within {timeout_s} s")


def other_process(node: Node, pid: Pid) -> None:
    """Raises: UsageError: This is no Pid, or that of this process."""
    if not isinstance(pid, Pid):
        raise UsageError(f"this takes a Pid; found {type(pid).__name__}: {brief(pid)}")
    if pid == node.pid:
        raise UsageError("a process is not linked with itself, nor hears of its own end")
