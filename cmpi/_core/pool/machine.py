"""Which worker runs which task: the queue, prefetch, retries, deaths and the number of workers.

Methods are events and return actions; tasks and workers are numbers. A worker runs its tasks in the order
in which it got them and answers each, so the first of its tasks is the one that runs, and the only one
that a death is charged to.

Prefetch hides the way to the worker and back: a worker may hold so many tasks of a kind (a function) as
take `PREFETCH_S` if each takes as long as the longest of late, and only one of a kind that is not known or
takes long.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

PREFETCH_S = 0.01
MAX_PREFETCH = 256  # a channel's window is 1024 messages
MAX_PREFETCH_BYTES = 8 << 20
LONG_S = 0.02  # tasks that take longer are not prefetched: the next may be for another worker
FADING = 0.95  # of what counts as the longest task of late, with each task of its kind
MAX_KINDS = 1024  # whose times are remembered
BACKOFF_S = 0.05  # before the first retry, doubled for each further one
IDLE_S = 10.0  # a worker beyond the minimum ends after so long without a task
MAX_START_FAILURES = 3  # in a row


@frozen
class Send:
    """Action: send these tasks to that worker."""

    worker: int
    tasks: tuple[int, ...]


@frozen
class StartWorker:
    """Action: start a worker."""

    worker: int


@frozen
class RetireWorker:
    """Action: the worker gets no more tasks and ends when it has answered those it has."""

    worker: int


@frozen
class KillWorker:
    """Action: end the worker at once."""

    worker: int


@frozen
class FailTask:
    """Action: the task is over without a result.

    `deaths` counts the workers that ended while they ran it; `killed` says that it was ended on purpose,
    and `late` that it ran out of time.
    """

    task: int
    deaths: int
    killed: bool = False
    late: bool = False


@frozen
class Break:
    """Action: the pool is of no use, since no worker could be started; every task has failed."""


if TYPE_CHECKING:
    Action: TypeAlias = "Send | StartWorker | RetireWorker | KillWorker | FailTask | Break"


class Task:
    """A task that is not over."""

    __slots__ = (
        "deaths",
        "doomed",
        "kind",
        "late",
        "nbytes",
        "retries",
        "running_since_s",
        "timeout_s",
        "worker",
    )

    def __init__(self, kind: int, nbytes: int, retries: int, timeout_s: float | None) -> None:
        self.kind, self.nbytes, self.retries, self.timeout_s = kind, nbytes, retries, timeout_s
        self.worker: int | None = None
        self.running_since_s: float | None = None
        self.deaths = 0
        self.doomed = self.late = False


class Worker:
    """A worker that has not ended."""

    __slots__ = ("dying", "idle_since_s", "nbytes", "ran", "retiring", "tasks", "up")

    def __init__(self) -> None:
        self.tasks: deque[int] = deque()
        self.nbytes = self.ran = 0
        self.up = self.retiring = self.dying = False
        self.idle_since_s = 0.0


def _load(each: tuple[int, Worker]) -> int:
    return len(each[1].tasks)


class PoolMachine:
    """The machine. Not thread-safe; never blocks. Times are seconds of any clock.

    Args:
        minimum: How many workers there are at least.
        maximum: How many at most.
        max_tasks: After so many tasks a worker is replaced by a new one; None: never.
    """

    def __init__(self, minimum: int, maximum: int, max_tasks: int | None = None) -> None:
        self.minimum, self.maximum, self.max_tasks = minimum, maximum, max_tasks
        self.tasks: dict[int, Task] = {}
        self.waiting: deque[int] = deque()
        self.workers: dict[int, Worker] = {}
        self.longest_s: dict[int, float] = {}  # by kind: the longest task of late
        self.average_s = 0.0
        self.started = self.deaths = self.completed = 0
        self.closed = self.broken = False
        self._delayed: list[tuple[float, int]] = []
        self._failures = 0

    # -- events --------------------------------------------------------------------------------

    def begin(self) -> list[Action]:
        """Start the workers that there are at least."""
        return self._grow()

    def submit(
        self,
        task: int,
        now_s: float,
        *,
        kind: int = 0,
        nbytes: int = 0,
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> list[Action]:
        """A task has come. Tasks of one kind are expected to take about as long."""
        self.tasks[task] = Task(kind, nbytes, retries, timeout_s)
        if self.broken:
            return [self._fail(task)]
        self.waiting.append(task)
        return [*self._assign(now_s), *self._grow()]

    def cancel(self, task: int) -> bool:
        """Take a task back that no worker has; whether that was possible."""
        found = self.tasks.get(task)
        if found is None or found.worker is not None:
            return False
        del self.tasks[task]
        if task in self.waiting:
            self.waiting.remove(task)
        return True

    def kill(self, task: int) -> list[Action]:
        """End a task wherever it is; its worker, if it runs, is ended with it and replaced."""
        found = self.tasks.get(task)
        if found is None:
            return []
        if found.worker is None:
            self.cancel(task)
            return [FailTask(task, found.deaths, killed=True)]
        found.doomed = True
        return self._execute_doomed(found.worker)

    def worker_up(self, worker: int, now_s: float) -> list[Action]:
        """A worker is ready."""
        found = self.workers.get(worker)
        if found is None:
            return []
        found.up, found.idle_since_s, self._failures = True, now_s, 0
        return self._assign(now_s)

    def start_failed(self, worker: int) -> list[Action]:
        """A worker could not be started, or its initializer failed."""
        self.workers.pop(worker, None)
        self._failures += 1
        if self._failures < MAX_START_FAILURES:
            return self._grow()
        self.broken = True
        failed = [self._fail(task) for task in list(self.tasks)]
        for each in self.workers.values():
            each.tasks.clear()
        return [*failed, *(KillWorker(each) for each in self.workers), Break()]

    def result(self, worker: int, task: int, elapsed_s: float, now_s: float) -> list[Action]:
        """A worker has answered a task, with a value or an exception."""
        if self.broken:
            return []  # the task has failed already
        found = self.workers[worker]
        assert found.tasks[0] == task, "a worker answers in order"
        found.tasks.popleft()
        found.ran += 1
        record = self.tasks.pop(task)
        found.nbytes -= record.nbytes
        self.completed += 1
        self.average_s += (elapsed_s - self.average_s) * (0.2 if self.completed > 1 else 1.0)
        self.longest_s[record.kind] = max(elapsed_s, FADING * self.longest_s.get(record.kind, 0.0))
        if len(self.longest_s) > MAX_KINDS:
            del self.longest_s[next(iter(self.longest_s))]
        actions: list[Action] = []
        if self.max_tasks is not None and found.ran + len(found.tasks) >= self.max_tasks:
            actions += self._retire(worker)
        if found.tasks:
            self.tasks[found.tasks[0]].running_since_s = now_s
            actions += self._execute_doomed(worker)
        else:
            found.idle_since_s = now_s
        if self.waiting:
            actions += self._assign(now_s)
        return actions

    def worker_ended(self, worker: int, now_s: float) -> list[Action]:
        """A worker has ended, for whatever reason."""
        found = self.workers.pop(worker, None)
        if found is None:
            return []
        if not found.up and not found.retiring:
            self.workers[worker] = found
            return self.start_failed(worker)
        actions: list[Action] = []
        if found.tasks or not found.retiring:
            self.deaths += 1
        if found.tasks:
            actions += self._charge(found.tasks.popleft(), now_s)
        for task in reversed(found.tasks):  # these had not begun
            record = self.tasks[task]
            record.worker = None
            if record.doomed:
                del self.tasks[task]
                actions.append(FailTask(task, record.deaths, killed=True))
            else:
                self.waiting.appendleft(task)
        return [*actions, *self._assign(now_s), *self._grow()]

    def resize(self, minimum: int, maximum: int, now_s: float) -> list[Action]:
        """From now on so many workers at least and at most."""
        self.minimum, self.maximum = minimum, maximum
        actions: list[Action] = []
        active = [
            number for number, worker in self.workers.items() if not (worker.retiring or worker.dying)
        ]
        active.sort(key=lambda number: len(self.workers[number].tasks), reverse=True)
        for worker in active[maximum:]:
            actions += self._retire(worker)
        return [*actions, *self._grow(), *self._assign(now_s)]

    def close(self) -> list[Action]:
        """No task follows; workers end when all have been answered."""
        self.closed = True
        return self._dismiss()

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due: retries, time limits, workers that have been idle for long."""
        actions: list[Action] = []
        while self._delayed and self._delayed[0][0] <= now_s:
            task = heappop(self._delayed)[1]
            if task in self.tasks:
                self.waiting.append(task)
        for number, worker in list(self.workers.items()):
            if worker.tasks:
                record = self.tasks[worker.tasks[0]]
                if self._over_s(record) <= now_s and not record.doomed:
                    record.doomed = record.late = True
                    actions += self._kill(number)
            elif (
                worker.up
                and not worker.retiring
                and self._active() > self.minimum
                and worker.idle_since_s + IDLE_S <= now_s
            ):
                actions += self._retire(number)
        return [*actions, *self._assign(now_s), *self._grow()]

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        times = [self._delayed[0][0]] if self._delayed else []
        for worker in self.workers.values():
            if worker.tasks:
                times.append(self._over_s(self.tasks[worker.tasks[0]]))
            elif worker.up and not worker.retiring and self._active() > self.minimum:
                times.append(worker.idle_since_s + IDLE_S)
        soonest = min(times, default=float("inf"))
        return None if soonest == float("inf") else soonest

    # -- decisions -----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True if no task is left."""
        return not self.tasks

    def _over_s(self, record: Task) -> float:
        if record.timeout_s is None or record.running_since_s is None or record.late:
            return float("inf")
        return record.running_since_s + record.timeout_s

    def _active(self) -> int:
        return sum(map(self._is_active, self.workers))

    def _is_active(self, worker: int) -> bool:
        return not (self.workers[worker].retiring or self.workers[worker].dying)

    def _depth(self, kind: int) -> int:
        """How many tasks a worker may hold before it is given one more of this kind."""
        longest_s = self.longest_s.get(kind)
        if longest_s is None or longest_s > LONG_S:
            return 1
        return min(MAX_PREFETCH, 2 + int(PREFETCH_S / max(longest_s, 1e-9)))

    def _assign(self, now_s: float) -> list[Action]:
        """Give waiting tasks to the workers that have the least to do."""
        waiting = self.waiting
        if not waiting:
            return []
        got: dict[int, list[int]] = {}
        ready = [
            each for each in self.workers.items() if each[1].up and self._may_take(each[1], MAX_PREFETCH)
        ]
        while ready and waiting:
            number, worker = min(ready, key=_load) if len(ready) > 1 else ready[0]
            record = self.tasks[waiting[0]]
            if not self._may_take(worker, self._depth(record.kind)):
                break
            task = waiting.popleft()
            record.worker = number
            if not worker.tasks:
                record.running_since_s = now_s
            worker.tasks.append(task)
            worker.nbytes += record.nbytes
            got.setdefault(number, []).append(task)
            if not self._may_take(worker, MAX_PREFETCH):
                ready.remove((number, worker))
        return [Send(number, tuple(tasks)) for number, tasks in got.items()]

    def _may_take(self, worker: Worker, depth: int) -> bool:
        held = len(worker.tasks)
        if worker.retiring or worker.dying:
            return False
        if self.max_tasks is not None and worker.ran + held >= self.max_tasks:
            return False
        return not held or (held < depth and worker.nbytes < MAX_PREFETCH_BYTES)

    def _grow(self) -> list[Action]:
        """Start workers: up to the minimum, and beyond it as long as tasks wait for one."""
        if self.broken or (self.closed and not self.tasks):
            return []
        active = self._active()
        starting = sum(not worker.up for worker in self.workers.values())
        wanted = max(self.minimum - active, min(self.maximum - active, len(self.waiting) - starting))
        actions: list[Action] = []
        for _ in range(max(0, wanted)):
            self.workers[self.started] = Worker()
            actions.append(StartWorker(self.started))
            self.started += 1
        return actions

    def _retire(self, worker: int) -> list[Action]:
        if self.workers[worker].retiring:
            return []
        self.workers[worker].retiring = True
        return [RetireWorker(worker), *self._grow()]

    def _dismiss(self) -> list[Action]:
        if self.tasks or not self.closed:
            return []
        actions: list[Action] = []
        for number in list(self.workers):
            actions += self._retire(number)
        return actions

    def _execute_doomed(self, worker: int) -> list[Action]:
        """End the worker if the task that it runs is to end."""
        tasks = self.workers[worker].tasks
        return self._kill(worker) if tasks and self.tasks[tasks[0]].doomed else []

    def _kill(self, worker: int) -> list[Action]:
        if self.workers[worker].dying:
            return []
        self.workers[worker].dying = True
        return [KillWorker(worker), *self._grow()]

    def _charge(self, task: int, now_s: float) -> list[Action]:
        """The worker that ran this task has ended."""
        record = self.tasks[task]
        record.worker = record.running_since_s = None
        record.deaths += not record.doomed
        if record.doomed or record.deaths > record.retries:
            del self.tasks[task]
            return [FailTask(task, record.deaths, killed=record.doomed, late=record.late)]
        heappush(self._delayed, (now_s + BACKOFF_S * 2 ** (record.deaths - 1), task))
        return []

    def _fail(self, task: int) -> FailTask:
        record = self.tasks.pop(task)
        if task in self.waiting:
            self.waiting.remove(task)
        return FailTask(task, record.deaths)

    def settled(self) -> list[Action]:
        """To be called when a task is over: dismisses the workers of a closed pool with the last."""
        return self._dismiss()
