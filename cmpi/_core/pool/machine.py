"""Decides which worker runs which task: the queue, retries, deaths and the number of workers.

Methods are events and return actions; tasks and workers are numbers. A worker runs its tasks in the order
in which it got them and answers each. The first of its tasks is therefore the running one, and the only one
that a death counts against.

An idle worker gets the next task at once. A busy worker gets more with its answers, when it holds at most
half of what it may (see `prefetch`): up to that limit, but no more than its share of the waiting tasks, so
that all workers finish at about the same time. A message to a worker costs as much as a trivial task, so
it carries as many tasks as possible.

If a worker is idle and no task waits, all tasks that wait behind a long-running one are taken back from
their worker, since it is not known how much longer that one will run.

Source: work stealing (Blumofe and Leiserson, "Scheduling Multithreaded Computations by Work Stealing",
1999); the share is that of guided self-scheduling (Polychronopoulos and Kuck, "Guided Self-Scheduling: A
Practical Scheduling Scheme for Parallel Supercomputers", 1987).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from cmpi._core.pool.actions import (
    Break,
    FailTask,
    KillWorker,
    Recall,
    Send,
)
from cmpi._core.pool.prefetch import MAX_PREFETCH_BYTES, Prefetch
from cmpi._core.pool.records import Task, Worker
from cmpi._core.pool.worker_table import WorkerTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cmpi._core.pool.actions import Action

BACKOFF_S = 0.05  # before the second retry, doubled for each further one; the first is at once
STEAL_S = 0.02  # a task that runs for longer is one behind which no other should wait
MAX_START_FAILURES = 3  # in a row


class PoolMachine:
    """The state machine. Not thread-safe; never blocks. Times are seconds of any clock.

    Args:
        minimum: The least number of workers.
        maximum: The largest number of workers.
        max_tasks: After this many tasks a worker is replaced by a new one; None: never.
    """

    def __init__(self, minimum: int, maximum: int, max_tasks: int | None = None) -> None:
        self.max_tasks = max_tasks
        self.tasks: dict[int, Task] = {}
        self.waiting: deque[int] = deque()
        self.prefetch = Prefetch()
        self.average_s = 0.0
        self.deaths = self.completed = 0
        self.closed = self.broken = False
        self._table = WorkerTable(minimum, maximum)
        self.workers, self._idle = self._table.workers, self._table.idle
        self._delayed: list[tuple[float, int]] = []
        self._failures = 0

    # -- events --------------------------------------------------------------------------------

    def begin(self) -> list[Action]:
        """Start the minimum of workers."""
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
        """Take a new task. Tasks of one kind are expected to take about equally long."""
        self.tasks[task] = Task(kind, nbytes, retries, timeout_s)
        if self.broken:
            return [self._fail(task)]
        self.waiting.append(task)
        if self._idle:
            return self._feed_idle(now_s)
        return self._grow() if self._table.active < self._table.maximum else []

    def cancel(self, task: int) -> bool:
        """Withdraw a task that no worker has; return whether that was possible."""
        found = self.tasks.get(task)
        if found is None or found.worker is not None:
            return False
        del self.tasks[task]
        if task in self.waiting:
            self.waiting.remove(task)
        return True

    def kill(self, task: int) -> list[Action]:
        """End a task wherever it is; if it is running, its worker is killed and replaced."""
        found = self.tasks.get(task)
        if found is None:
            return []
        if found.worker is None:
            self.cancel(task)
            return [FailTask(task, found.deaths, killed=True)]
        found.doomed = True
        return self._execute_doomed(found.worker)

    def worker_up(self, worker: int, now_s: float, *, recallable: bool = False) -> list[Action]:
        """A worker is ready. If it is `recallable`, tasks that it has not begun can be taken back."""
        found = self.workers.get(worker)
        if found is None:
            return []
        found.up, found.recallable, self._failures = True, recallable, 0
        self._table.becomes_idle(worker, now_s)
        return self._feed_idle(now_s)

    def start_failed(self, worker: int) -> list[Action]:
        """A worker could not be started, or its initializer failed."""
        self._table.forget(worker)
        self._failures += 1
        if self._failures < MAX_START_FAILURES:
            return self._grow()
        self.broken = True
        failed = [self._fail(task) for task in list(self.tasks)]
        for each in self.workers.values():
            each.tasks.clear()
        return [*failed, *(KillWorker(each) for each in self.workers), Break()]

    def results(self, worker: int, answers: Iterable[tuple[int, float]], now_s: float) -> list[Action]:
        """A worker has answered tasks, with a value or an exception.

        Args:
            answers: The tasks in order, and how many seconds each took.
        """
        if self.broken:
            return []  # the tasks have failed already
        found = self.workers[worker]
        for task, elapsed_s in answers:
            assert found.tasks[0] == task, "a worker answers in order"
            found.tasks.popleft()
            found.ran += 1
            found.passed += 1
            record = self.tasks.pop(task)
            found.nbytes -= record.nbytes
            self.completed += 1
            self.average_s += (elapsed_s - self.average_s) * (0.2 if self.completed > 1 else 1.0)
            self.prefetch.took(record.kind, elapsed_s)
        actions: list[Action] = []
        if self.max_tasks is not None and found.ran + len(found.tasks) >= self.max_tasks:
            actions += self._retire(worker)
        return [*actions, *self._next(worker, now_s)]

    def left_out(self, worker: int, task: int, now_s: float) -> list[Action]:
        """A worker has skipped a task that was to be taken back."""
        if self.broken:
            return []
        found = self.workers[worker]
        found.passed += 1
        actions: list[Action] = []
        if found.tasks and found.tasks[0] == task:  # the worker had seemed to have begun it
            found.tasks.popleft()
            actions += self._take_back(found, task)
        return [*actions, *self._next(worker, now_s)]

    def recalled(self, worker: int, begun: int, now_s: float) -> list[Action]:
        """Note that tasks were taken back, except those that the worker seems to have begun.

        Args:
            worker: See `Recall`.
            begun: The number of the last of them.
        """
        found = self.workers[worker]
        actions: list[Action] = []
        while len(found.tasks) > 1 and found.passed + len(found.tasks) > begun:
            actions += self._take_back(found, found.tasks.pop())
        return [*actions, *self._feed_idle(now_s)]

    def first_unanswered(self, worker: int) -> int | None:
        """The number, in the worker's own count, of the first task that it has not answered; None if it has
        none."""
        found = self.workers.get(worker)
        return found.passed + 1 if found is not None and found.tasks else None

    def worker_ended(self, worker: int, now_s: float, begun: int = 0) -> list[Action]:
        """A worker has ended, for whatever reason.

        Args:
            worker: Its number.
            now_s: The time.
            begun: The last task that it has begun, in its own count, if that is known. The first task
                without an answer counts as begun.
        """
        found = self.workers.get(worker)
        if found is None:
            return []
        if not found.up and not found.retiring:
            return self.start_failed(worker)
        self._table.forget(worker)
        actions: list[Action] = []
        if found.tasks or not found.retiring:
            self.deaths += 1
        ran = [found.tasks.popleft() for _ in range(min(len(found.tasks), max(1, begun - found.passed)))]
        for task in reversed(found.tasks):  # these had not begun
            actions += self._take_back(found, task)
        for task in ran:
            actions += self._charge(task, now_s)
        return [*actions, *self._feed_idle(now_s), *self._grow()]

    def resize(self, minimum: int, maximum: int, now_s: float) -> list[Action]:
        """Change the least and the largest number of workers."""
        self._table.minimum, self._table.maximum = minimum, maximum
        return [*self._table.shrink(), *self._grow(), *self._feed_idle(now_s)]

    def close(self) -> list[Action]:
        """No task follows; workers end once all tasks are answered."""
        self.closed = True
        return self.settled()

    def settled(self) -> list[Action]:
        """Call this when a task is over: it dismisses the workers of a closed pool after the last task."""
        if self.tasks or not self.closed:
            return []
        actions: list[Action] = []
        for number in list(self.workers):
            actions += self._retire(number)
        return actions

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
                if record.over_s <= now_s and not record.doomed:
                    record.doomed = record.late = True
                    actions += self._kill(number)
            elif self._table.surplus_s(number) <= now_s:
                actions += self._table.retire(number)
        return [*actions, *self._feed_idle(now_s), *self._grow(), *self._steal(now_s)]

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        soonest = self._delayed[0][0] if self._delayed else float("inf")
        for number, worker in self.workers.items():
            if worker.tasks:
                soonest = min(soonest, self.tasks[worker.tasks[0]].over_s, self._stealing_s(worker))
            else:
                soonest = min(soonest, self._table.surplus_s(number))
        return None if soonest == float("inf") else soonest

    # -- decisions -----------------------------------------------------------------------------

    def _next(self, worker: int, now_s: float) -> list[Action]:
        """A worker has finished a task."""
        found = self.workers[worker]
        actions: list[Action] = []
        if found.tasks:
            self.tasks[found.tasks[0]].running_since_s = now_s
            actions += self._execute_doomed(worker)
        elif not found.leaving_out:
            self._table.becomes_idle(worker, now_s)
        return [*actions, *self._feed(worker, now_s)] if self.waiting else actions

    def _stealing_s(self, worker: Worker) -> float:
        """When to take back what waits behind the worker's first task."""
        if self.waiting or not self._idle or len(worker.tasks) < 2:
            return float("inf")
        if not worker.recallable or worker.leaving_out or worker.dying:
            return float("inf")
        return (self.tasks[worker.tasks[0]].running_since_s or 0.0) + STEAL_S

    def _steal(self, now_s: float) -> list[Action]:
        """Take back the tasks of the worker whose first task has run the longest."""
        if self.waiting or not self._idle:
            return []
        due_s, number = min(
            ((self._stealing_s(worker), number) for number, worker in self.workers.items()),
            default=(float("inf"), -1),
        )
        if due_s > now_s:
            return []
        worker = self.workers[number]
        worker.recalled = worker.passed + len(worker.tasks)
        return [Recall(number, worker.passed + 2, len(worker.tasks) - 1)]

    def _take_back(self, worker: Worker, task: int) -> list[Action]:
        """A task that its worker will not run goes to the front of the waiting tasks."""
        record = self.tasks[task]
        worker.nbytes -= record.nbytes
        record.worker = record.running_since_s = None
        if record.doomed:
            del self.tasks[task]
            return [FailTask(task, record.deaths, killed=True)]
        self.waiting.appendleft(task)
        return []

    def _feed_idle(self, now_s: float) -> list[Action]:
        """Give each idle worker its share of the waiting tasks."""
        actions: list[Action] = []
        while self._idle and self.waiting:
            actions += self._feed(next(reversed(self._idle)), now_s)
        return actions

    def _feed(self, number: int, now_s: float) -> list[Action]:
        """Give a worker its share of the waiting tasks, if it holds few."""
        worker, waiting = self.workers[number], self.waiting
        if worker.leaving_out or self._table.leaves(number):
            return []
        held, nbytes = len(worker.tasks), worker.nbytes
        share = -(-len(waiting) // self._table.active)
        if self.max_tasks is not None:
            share = min(share, self.max_tasks - worker.ran - held)
        got: list[int] = []
        kind, depth = None, 0
        while len(got) < share:
            record = self.tasks[waiting[0]]
            if held:
                if record.kind != kind:
                    kind, depth = record.kind, self.prefetch.depth(record.kind, worker.recallable)
                if held >= depth or (not got and held > depth // 2) or nbytes >= MAX_PREFETCH_BYTES:
                    break
            record.worker = number
            nbytes += record.nbytes
            held += 1
            got.append(waiting.popleft())
        if not got:
            return []
        if not worker.tasks:
            self.tasks[got[0]].running_since_s = now_s
            del self._idle[number]
        worker.tasks.extend(got)
        worker.nbytes = nbytes
        return [Send(number, tuple(got))]

    def _grow(self) -> list[Action]:
        """Start the workers that are missing."""
        if self.broken or (self.closed and not self.tasks):
            return []
        return self._table.grow(len(self.waiting))

    def _retire(self, worker: int) -> list[Action]:
        return [*self._table.retire(worker), *self._grow()]

    def _kill(self, worker: int) -> list[Action]:
        return [*self._table.kill(worker), *self._grow()]

    def _execute_doomed(self, worker: int) -> list[Action]:
        """Kill the worker if the task that it runs must be ended."""
        tasks = self.workers[worker].tasks
        return self._kill(worker) if tasks and self.tasks[tasks[0]].doomed else []

    def _charge(self, task: int, now_s: float) -> list[Action]:
        """The worker that ran this task has ended: retry the task or let it fail."""
        record = self.tasks[task]
        record.worker = record.running_since_s = None
        record.deaths += not record.doomed
        if record.doomed or record.deaths > record.retries:
            del self.tasks[task]
            return [FailTask(task, record.deaths, killed=record.doomed, late=record.late)]
        if record.deaths == 1:
            self.waiting.appendleft(task)
        else:
            heappush(self._delayed, (now_s + BACKOFF_S * 2 ** (record.deaths - 2), task))
        return []

    def _fail(self, task: int) -> FailTask:
        record = self.tasks.pop(task)
        if task in self.waiting:
            self.waiting.remove(task)
        return FailTask(task, record.deaths)
