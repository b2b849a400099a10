"""Decisions of a supervisor: which children to restart, when, and when to give up.

It takes events and returns actions. Children are numbered in the order in which they are started, and
stopped in reverse order, one after another. If a child ends while others are being stopped, the decision
about it waits. Further children may be added; a child that was stopped on request stays stopped until it
is started on request.

Source: Erlang/OTP Design Principles, "Supervisor Behaviour". Ours: the back-off, because a child that
cannot start would use up all its restarts in milliseconds; and that a supervisor is done when no
child is left, because here it is a call that returns.
"""

from __future__ import annotations

from collections import deque

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("permanent", "transient", "temporary")
RUNNING, STOPPING, RESTARTING, ENDED = "running", "stopping", "restarting", "ended"


@frozen
class StartChild:
    """Action: start this child; it counts as running from now on."""

    child: int


@frozen
class StopChild:
    """Action: ask this child to end; or kill it (`now`), because it has not ended in time."""

    child: int
    now: bool


@frozen
class Done:
    """Action: no child is running, and none will run."""


if TYPE_CHECKING:
    Action: TypeAlias = "StartChild | StopChild | Done"


class Supervisor:
    """The state machine. Not thread-safe; never blocks. Times are seconds of any clock.

    Args:
        restarts: For each child, when to restart it: one of RESTARTS.
        shutdown_s: For each child, how long it may take to end when asked to.
        strategy: Which siblings are restarted along with a child: one of STRATEGIES.
        max_restarts: The most restarts within `within_s`; at one more the supervisor gives up.
        within_s: The period for `max_restarts`, in seconds.
        backoff_s: The wait before the second restart in that period, doubled for each further one; and the
            longest wait.
        dynamic: Go on when no child is left, because others may join.
    """

    def __init__(
        self,
        restarts: list[str],
        shutdown_s: list[float],
        strategy: str,
        max_restarts: int,
        within_s: float,
        backoff_s: tuple[float, float],
        *,
        dynamic: bool = False,
    ) -> None:
        self._dynamic = dynamic
        self._unwanted: set[int] = set()  # stopped on request, or temporary and ended
        self._restarts, self._shutdown_s, self._strategy = restarts, shutdown_s, strategy
        self._max, self._within_s, self._backoff_s = max_restarts, within_s, backoff_s
        self.counts = [0] * len(restarts)  # restarts of each child
        self.gave_up = False  # because of too many restarts
        self._running: set[int] = set()
        self._history: deque[float] = deque()  # times of restarts within the period
        self._to_stop: list[int] = []  # children to stop, the last one first
        self._stopping: int | None = None  # the child of these that was asked to end
        self._kill_s: float | None = None  # when to kill it
        self._to_start: list[int] = []
        self._start_s = 0.0  # when to start the next
        self._undecided: deque[tuple[int, bool]] = deque()  # children that ended, and whether normally
        self._closing = self._done = False

    def begin(self) -> list[Action]:
        """Start all children."""
        self._to_start = list(range(len(self._restarts)))
        return self._advance(self._start_s)

    def ended(self, child: int, now_s: float, *, normally: bool) -> list[Action]:
        """A child has ended."""
        self._running.discard(child)
        if child == self._stopping:
            self._stopping = self._kill_s = None
        if child in self._to_stop:
            self._to_stop.remove(child)
        elif not self._closing:
            self._undecided.append((child, normally))
        return self._advance(now_s)

    def join(self, restart: str, shutdown_s: float) -> int:
        """Another child is running, the last in the order; return its number."""
        self._restarts.append(restart)
        self._shutdown_s.append(shutdown_s)
        self.counts.append(0)
        self._running.add(len(self.counts) - 1)
        return len(self.counts) - 1

    def terminate(self, child: int, now_s: float) -> list[Action]:
        """Stop this child for good."""
        self._unwanted.add(child)
        self._to_start = [each for each in self._to_start if each != child]
        self._undecided = deque(each for each in self._undecided if each[0] != child)
        if child in self._running and child not in self._to_stop:
            self._to_stop = sorted([*self._to_stop, child])
        return self._advance(now_s)

    def back(self, child: int) -> None:
        """A stopped child was started on request."""
        assert self.state(child) == ENDED
        self._unwanted.discard(child)
        self._running.add(child)

    def state(self, child: int) -> str:
        """The state of this child: RUNNING, STOPPING, RESTARTING or ENDED."""
        if child in self._running:
            return STOPPING if child in self._to_stop else RUNNING
        waits = child in self._to_start or any(child == each for each, _ in self._undecided)
        return RESTARTING if waits else ENDED

    @property
    def closing(self) -> bool:
        """True if all are being stopped for good."""
        return self._closing

    def close(self, now_s: float) -> list[Action]:
        """Stop all children for good."""
        self._close()
        return self._advance(now_s)

    def _close(self) -> None:
        self._closing = True
        self._to_start = []
        self._undecided.clear()
        self._to_stop = sorted(self._running)

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        if self._stopping is not None and self._kill_s is not None and self._kill_s <= now_s:
            self._kill_s = None
            return [StopChild(self._stopping, True)]
        return self._advance(now_s)

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        if self._to_stop:
            return self._kill_s
        return self._start_s if self._to_start else None

    def _advance(self, now_s: float) -> list[Action]:
        while self._undecided and not self._to_stop:
            self._decide(*self._undecided.popleft(), now_s)
        if self._to_stop:
            if self._stopping is not None:
                return []
            self._stopping = self._to_stop[-1]
            self._kill_s = now_s + self._shutdown_s[self._stopping]
            return [StopChild(self._stopping, False)]
        actions: list[Action] = []
        if self._to_start and self._start_s <= now_s:
            actions += [StartChild(child) for child in self._to_start]
            self._running.update(self._to_start)
            self._to_start = []
        idle = not self._running and not self._to_start and (self._closing or not self._dynamic)
        if idle and not self._done:
            self._done = True
            actions.append(Done())
        return actions

    def _decide(self, child: int, normally: bool, now_s: float) -> None:
        how = self._restarts[child]
        if how == "temporary":
            self._unwanted.add(child)
        if child in self._unwanted or (how == "transient" and normally):
            return
        while self._history and self._history[0] <= now_s - self._within_s:
            self._history.popleft()
        if len(self._history) >= self._max:
            self.gave_up = True
            self._close()
            return
        self._history.append(now_s)
        everybody = range(len(self._restarts))
        affected = {
            "one_for_one": [child],
            "one_for_all": list(everybody),
            "rest_for_one": list(everybody)[child:],
        }[self._strategy]
        self._to_stop = [each for each in affected if each in self._running]
        # As in OTP, a temporary child that ends with its siblings stays away. A child that waits for its
        # restart is in the list already.
        again = {each for each in affected if self._restarts[each] != "temporary"} - self._unwanted
        for each in again.difference(self._to_start):
            self.counts[each] += 1
        self._to_start = sorted(again.union(self._to_start))
        first, longest = self._backoff_s
        n = len(self._history) - 1
        self._start_s = now_s + (min(first * 2 ** (n - 1), longest) if n else 0.0)

    def validate(self) -> None:
        """The invariants; for tests.

        Raises:
            AssertionError: One of them is broken.
        """
        assert not self._running & set(self._to_start) - set(self._to_stop), "who runs is not started"
        assert set(self._to_stop) <= self._running, "only who runs is stopped"
        assert len(self._history) <= self._max
        assert not self._unwanted & set(self._to_start), "who was stopped on request is not started"
        if self._closing:
            assert not self._to_start and not self._undecided
