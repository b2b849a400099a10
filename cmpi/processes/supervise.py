"""`supervise`: starts children, and restarts them when they end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cmpi._core import supervisor
from cmpi._core.job import erlang_links
from cmpi._core.supervisor import STRATEGIES, Supervisor
from cmpi._runtime.process import context
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.channels.call import Call
from cmpi.channels.mailbox import Mailbox
from cmpi.errors import ChannelExists, PeerExited, TooManyRestarts, UsageError
from cmpi.identifiers import ExitStatus, Pid
from cmpi.processes.child import Child
from cmpi.processes.children import KEY, ChildInfo, Desk, Office
from cmpi.processes.links import register
from cmpi.processes.process import kill, spawn_tied

if TYPE_CHECKING:
    from cmpi._runtime.process.node import Node

SIGTERM, SIGKILL = 15, 9


def supervise(
    children: Sequence[Child],
    *,
    strategy: str = "one_for_one",
    max_restarts: int = 1,
    within: float = 5.0,
    backoff: tuple[float, float] = (0.1, 10.0),
    dynamic: bool = False,
) -> Mapping[str, int]:
    """Start children in order, and restart them when they end, until none is left.

    Args:
        children: The children, each after those that it depends on.
        strategy: Which children are restarted when one ends: "one_for_one": only that one; "one_for_all":
            all; "rest_for_one": that one and those after it.
        max_restarts: The most restarts within `within` seconds. One more stops all children.
        within: The length of that period, in seconds.
        backoff: The wait before the second restart in that period, in seconds, which doubles with each
            further restart; and the longest wait.
        dynamic: Go on when no child is left, since `start_child` may add others, until this process is
            ended.

    Returns:
        How often each child was restarted, by its name or function.

    Raises:
        TooManyRestarts: The children ended more often than allowed.
        PeerExited: A process linked with this one has ended; the children were stopped.
        UsageError: There is no such strategy.

    The failure of a child does not count for the job, but the failure of a supervisor does. Children are
    linked with their supervisor and end with it. To do other work meanwhile, or to supervise the
    supervisor, run it in a process of its own: `spawn(lambda parent: supervise(...))`. Any process can
    list, stop and start its children: `which_children`, `start_child`, `terminate_child`, `restart_child`.

    Blocks: until no child is left. Source: Erlang/OTP Design Principles, "Supervisor Behaviour".
    """
    refuse_in_loop("supervise()", "a process of its own: `await cmpi.aspawn(lambda _: supervise(...))`")
    if strategy not in STRATEGIES:
        raise UsageError(f"strategy must be one of {', '.join(STRATEGIES)}; found {strategy!r}")
    return _Shell(children, strategy, max_restarts, within, backoff, dynamic).run()


class _Shell(Office):
    """Carries out the actions of the supervisor's state machine."""

    def __init__(
        self,
        children: Sequence[Child],
        strategy: str,
        max_restarts: int,
        within_s: float,
        backoff_s: tuple[float, float],
        dynamic: bool,
    ) -> None:
        self._children = list(children)
        self._node: Node = context.current()
        self._machine = Supervisor(
            [child.restart for child in children],
            [child.shutdown for child in children],
            strategy,
            max_restarts,
            within_s,
            backoff_s,
            dynamic=dynamic,
        )
        try:
            self._requests, self._desk = Mailbox[Call](_key=KEY), Desk(self)
        except ChannelExists:
            raise UsageError(
                "this process is already a supervisor; spawn a process for another one"
            ) from None
        self._pids: dict[Pid, int] = {}  # of the running children
        self._done = False
        self._last: tuple[int, ExitStatus] | None = None  # the end after which it gave up

    def run(self) -> Mapping[str, int]:
        """Supervise until the last child has ended."""
        with self._node.lock:
            family = set(self._node.exits.linked)  # not children
        trapped = self._node.exits.trap(True)
        self._requests.changed.watch(self._node.changed.notify_all)  # and so wakes `_turn`
        try:
            self._do(self._machine.begin())
            while not self._done:
                self._turn(family)
        finally:
            self._stop()
            self._node.exits.trap(trapped)
            self._requests.close()
        counts = {child.label: n for child, n in zip(self._children, self._machine.counts)}
        if self._machine.gave_up:
            assert self._last is not None
            child, status = self._last
            raise TooManyRestarts(
                f"{self._children[child].label} ended ({status}) after too many restarts: "
                f"{', '.join(f'{name} {n}' for name, n in counts.items())}",
                counts,
            )
        return counts

    def _turn(self, family: set[int]) -> None:
        """Wait for the next event, and handle it."""
        node = self._node
        deadline_s = self._machine.deadline_s()
        patience_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())

        def something() -> Any:
            return self._ended() or self._orphaned(family) or self._requests.readable

        with node.lock, node.waits.on("supervise", list(self._pids), patience_s, something):
            self._requests.changed.rest()
            node.changed.wait_for(something, patience_s)
            ended, orphaned = self._ended(), self._orphaned(family)
        if orphaned is not None:
            raise PeerExited(*orphaned)
        for pid, status in ended:
            child, normally = self._pids.pop(pid), status.code == 0 and not status.signal
            self._do(self._machine.ended(child, time.monotonic(), normally=normally))
            if self._machine.gave_up and self._last is None:
                self._last = child, status
            self._desk.ended(child)
        while (request := self._requests.try_recv()) is not None:
            self._desk.serve(request)
        self._do(self._machine.tick(time.monotonic()))

    def _ended(self) -> list[tuple[Pid, ExitStatus]]:
        found = [(pid, self._node.exits.ended(pid.value)) for pid in self._pids]
        return [(pid, status) for pid, status in found if status is not None]

    def _orphaned(self, family: set[int]) -> tuple[Pid, ExitStatus] | None:
        for pid in family & self._node.exits.linked:
            status = self._node.exits.ended(pid)
            if status is not None and (status.code or status.signal):
                return Pid(pid), status
        return None

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, supervisor.StartChild):
                self._start(action.child)
            elif isinstance(action, supervisor.StopChild):
                (pid,) = (pid for pid, child in self._pids.items() if child == action.child)
                kill(pid, SIGKILL if action.now else SIGTERM)
            else:
                self._done = True

    # -- requests of the desk ------------------------------------------------------------------

    def infos(self) -> list[ChildInfo]:
        pids = {number: pid for pid, number in self._pids.items()}
        return [
            ChildInfo(
                number,
                child.name,
                pids.get(number),
                self._machine.state(number),
                self._machine.counts[number],
                getattr(child.f, "__qualname__", repr(child.f)),
            )
            for number, child in enumerate(self._children)
        ]

    def start_new(self, child: Child) -> Pid:
        self._refuse_at_the_end()
        self._children.append(child)
        try:
            pid = self._start(len(self._children) - 1)
        except BaseException:
            del self._children[-1]
            raise
        self._machine.join(child.restart, child.shutdown)
        return pid

    def start_again(self, number: int) -> Pid:
        self._refuse_at_the_end()
        pid = self._start(number)
        self._machine.back(number)
        return pid

    def stop(self, number: int) -> None:
        self._do(self._machine.terminate(number, time.monotonic()))

    def _refuse_at_the_end(self) -> None:
        if self._done or self._machine.closing:
            raise UsageError("this supervisor is about to end, so it starts no more children")

    def _start(self, number: int) -> Pid:
        child = self._children[number]
        name = child.name or None
        pid = spawn_tied(child.f, child.args, child.resources, erlang_links.SUPERVISE, name=name)
        self._pids[pid] = number
        self._node.exits.watch(pid)
        if child.name:
            try:
                register(child.name, pid)
            except UsageError:
                pass  # it has already ended; the notice will follow
        return pid

    def _stop(self) -> None:
        """End all children, whatever has happened."""
        self._do(self._machine.close(time.monotonic()))
        while not self._done:
            self._turn(set())
