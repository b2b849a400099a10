"""The workers of a pool: which are idle, which leave, and how many to start."""

from __future__ import annotations

from cmpi._core.pool.actions import KillWorker, RetireWorker, StartWorker
from cmpi._core.pool.records import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.pool.actions import Action

IDLE_S = 10.0  # a worker beyond the minimum ends after this long without a task


class WorkerTable:
    """The live workers by number.

    Attributes:
        workers: All of them, from when they are started until they have ended.
        idle: Those that wait for a task, by number; the one that became idle last is at the end.
        started: How many have been started.
    """

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.workers: dict[int, Worker] = {}
        self.idle: dict[int, None] = {}
        self.started = 0
        self._leaving: set[int] = set()  # workers that retire or are being killed

    @property
    def active(self) -> int:
        """How many get tasks, now or when they have started."""
        return len(self.workers) - len(self._leaving)

    def leaves(self, number: int) -> bool:
        """Whether this worker gets no more tasks."""
        return number in self._leaving

    def grow(self, waiting: int) -> list[Action]:
        """Start workers: up to the minimum, and more as long as tasks wait for one.

        Args:
            waiting: How many tasks wait.
        """
        starting = sum(not worker.up for worker in self.workers.values())
        wanted = max(self.minimum - self.active, min(self.maximum - self.active, waiting - starting))
        actions: list[Action] = []
        for _ in range(max(0, wanted)):
            self.workers[self.started] = Worker()
            actions.append(StartWorker(self.started))
            self.started += 1
        return actions

    def shrink(self) -> list[Action]:
        """Retire workers down to the maximum, those with the fewest tasks."""
        active = [number for number in self.workers if number not in self._leaving]
        active.sort(key=lambda number: len(self.workers[number].tasks), reverse=True)
        return [action for number in active[self.maximum :] for action in self.retire(number)]

    def becomes_idle(self, number: int, now_s: float) -> None:
        """A worker has no task."""
        self.workers[number].idle_since_s = now_s
        if number not in self._leaving:
            self.idle[number] = None

    def surplus_s(self, number: int) -> float:
        """When to retire this worker, which has no task; infinite if it is needed."""
        surplus = number in self.idle and self.active > self.minimum
        return self.workers[number].idle_since_s + IDLE_S if surplus else float("inf")

    def retire(self, number: int) -> list[Action]:
        """Let a worker end after its tasks. It gets no more."""
        if self.workers[number].retiring:
            return []
        self.workers[number].retiring = True
        self._leave(number)
        return [RetireWorker(number)]

    def kill(self, number: int) -> list[Action]:
        """End a worker now."""
        if self.workers[number].dying:
            return []
        self.workers[number].dying = True
        self._leave(number)
        return [KillWorker(number)]

    def forget(self, number: int) -> None:
        """A worker has ended, or could not be started."""
        self.workers.pop(number, None)
        self._leaving.discard(number)
        self.idle.pop(number, None)

    def _leave(self, number: int) -> None:
        self._leaving.add(number)
        self.idle.pop(number, None)
