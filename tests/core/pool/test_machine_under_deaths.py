"""The pool's machine under any order of events: no task is lost, and none runs more often than its retries
allow, whichever worker dies."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmpi._core.pool.actions import (
    Break,
    FailTask,
    KillWorker,
    Recall,
    Send,
    StartWorker,
)
from cmpi._core.pool.machine import PoolMachine


class PoolUnderAnyDeath(RuleBasedStateMachine):
    """Workers that run the tasks they are sent, and die at any moment."""

    def __init__(self):
        super().__init__()
        self.pool = PoolMachine(1, 3, max_tasks=20)
        self.pool.prefetch.took(0, 0.0001)  # so that tasks are sent ahead
        self.now_s = 0.0
        self.starting, self.held = [], {}
        self.begun = {}  # by worker: how many of its tasks it has begun, whether the pool knows or not
        self.left_out = {}  # by worker: the tasks that it will skip
        self.retries, self.runs, self.over = {}, Counter(), Counter()
        self.doomed, self.broken = set(), False
        self.do(self.pool.begin())

    def do(self, actions):
        for action in actions:
            if isinstance(action, StartWorker):
                self.starting.append(action.worker)
            elif isinstance(action, Send):
                self.held[action.worker] += action.tasks
            elif isinstance(action, FailTask):
                self.over[action.task] += 1
                allowed = action.deaths > self.retries[action.task] or action.killed or self.broken
                assert allowed or self.pool.broken, action
            elif isinstance(action, Recall):
                self.recall(action)
            elif isinstance(action, Break):
                self.broken = True
            elif isinstance(action, KillWorker) or (
                action.worker in self.held and not self.held[action.worker]
            ):
                self.end(action.worker)

    def recall(self, action):
        """Decide as the two words in shared memory do: for a task that is just being begun, either outcome
        is possible."""
        held, first = self.held[action.worker], self.pool.workers[action.worker].passed + 1
        begun = max(1, self.begun.get(action.worker, 0))
        out = self.left_out[action.worker] = {
            task
            for i, task in enumerate(held)
            if 0 <= first + i - action.first < action.count
            and (i >= begun or (i == begun - 1 and task % 2))
        }
        self.do(self.pool.recalled(action.worker, first + begun - 1, self.now_s))
        assert len(out) >= len(held) - begun

    def end(self, worker):
        if worker in self.held:
            tasks, out = self.held.pop(worker), self.left_out.pop(worker, ())
            begun = self.begun.pop(worker, 0)
            self.runs.update(task for task in tasks[: max(1, begun)] if task not in out)
            first = self.pool.first_unanswered(worker) or 1
            self.do(self.pool.worker_ended(worker, self.now_s, first + begun - 1))
        elif worker in self.starting:
            self.starting.remove(worker)
            self.do(self.pool.worker_ended(worker, self.now_s))

    @rule(
        retries=st.integers(0, 2),
        limit=st.sampled_from([None, 1.0]),
        nbytes=st.sampled_from([0, 0, 1 << 23]),
        several=st.sampled_from([1, 12]),
    )
    def submit(self, retries, limit, nbytes, several):
        for _ in range(several):
            task = len(self.retries)
            self.retries[task] = retries
            self.do(self.pool.submit(task, self.now_s, nbytes=nbytes, retries=retries, timeout_s=limit))

    @precondition(lambda self: self.starting)
    @rule()
    def comes_up(self):
        worker = self.starting.pop(0)
        self.held[worker] = []
        self.do(self.pool.worker_up(worker, self.now_s, recallable=True))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def runs_ahead(self, data):
        """A worker has progressed further than the pool knows."""
        worker = data.draw(st.sampled_from([w for w, tasks in self.held.items() if tasks]))
        if not self.pool.workers[worker].leaving_out:
            self.begun[worker] = data.draw(st.integers(1, len(self.held[worker])))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), elapsed_s=st.sampled_from([0.0001, 0.03]))
    def answers(self, data, elapsed_s):
        worker = data.draw(st.sampled_from([w for w, tasks in self.held.items() if tasks]))
        answers = []
        for _ in range(data.draw(st.integers(1, len(self.held[worker])))):
            if self.held[worker][0] in self.left_out.get(worker, ()):
                break
            task = self.held[worker].pop(0)
            self.runs[task] += 1
            self.over[task] += 1
            self.begun[worker] = max(0, self.begun.get(worker, 0) - 1)
            answers.append((task, elapsed_s))
        self.do(self.pool.results(worker, answers, self.now_s))
        self.leaves_out(worker)
        self.do(self.pool.settled())
        found = self.pool.workers.get(worker)
        if found is not None and found.retiring and not self.held.get(worker):
            self.end(worker)

    def leaves_out(self, worker):
        """The worker reports the next task that it skipped."""
        while self.held.get(worker) and self.held[worker][0] in self.left_out.get(worker, ()):
            task = self.held[worker].pop(0)
            self.left_out[worker].discard(task)
            self.begun[worker] = 0
            self.do(self.pool.left_out(worker, task, self.now_s))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def dies(self, data):
        self.end(data.draw(st.sampled_from(sorted(self.held))))

    @precondition(lambda self: self.starting)
    @rule()
    def fails_to_start(self):
        self.do(self.pool.start_failed(self.starting.pop(0)))

    @precondition(lambda self: self.retries)
    @rule(data=st.data(), kill=st.booleans())
    def gives_up(self, data, kill):
        task = data.draw(st.integers(0, len(self.retries) - 1))
        if kill:
            self.do(self.pool.kill(task))
            assert not any(tasks and tasks[0] == task for tasks in self.held.values()), "it runs on"
        elif self.pool.cancel(task):
            self.over[task] += 1

    @rule(after_s=st.sampled_from([0.05, 0.05, 1.0, 20.0]))
    def time_passes(self, after_s):
        self.now_s += after_s
        self.do(self.pool.tick(self.now_s))

    @rule(size=st.integers(1, 4))
    def resize(self, size):
        self.do(self.pool.resize(1, size, self.now_s))

    @invariant()
    def every_task_is_somewhere_or_over_once(self):
        for task in self.retries:
            assert self.over[task] == (task not in self.pool.tasks), task
        waiting = Counter(self.pool.waiting)
        delayed = {task for _, task in self.pool._delayed}
        for task, record in self.pool.tasks.items():
            places = waiting[task] + (record.worker is not None)
            assert places == 1 or (places == 0 and task in delayed), task

    @invariant()
    def no_task_runs_more_often_than_its_retries_allow(self):
        for task, times in self.runs.items():
            assert times <= self.retries[task] + 1, task

    @invariant()
    def no_worker_idles_while_tasks_wait(self):
        if self.pool.waiting and not self.pool.broken:
            for worker, tasks in self.held.items():
                found = self.pool.workers[worker]
                assert tasks or found.retiring or found.dying, worker

    @invariant()
    def workers_hold_what_the_machine_thinks(self):
        for worker, tasks in self.held.items():
            theirs = list(self.pool.workers[worker].tasks)
            assert theirs == list(tasks)[: len(theirs)]
            assert set(tasks[len(theirs) :]) <= self.left_out.get(worker, set())

    def teardown(self):
        """Left alone, a pool finishes every task."""
        for _ in range(10 * (len(self.retries) + 3)):
            if not self.pool.tasks or self.broken:
                break
            self.now_s += 0.05
            self.do(self.pool.tick(self.now_s))
            while self.starting:
                self.comes_up()
            for worker in list(self.held):
                self.leaves_out(worker)
                if self.held.get(worker):
                    task = self.held[worker].pop(0)
                    self.over[task] += 1
                    self.do(self.pool.results(worker, [(task, 0.1)], self.now_s))
                    found = self.pool.workers.get(worker)
                    if found is not None and found.retiring and not self.held.get(worker):
                        self.end(worker)
        assert not self.pool.tasks or self.broken


TestPoolUnderAnyDeath = PoolUnderAnyDeath.TestCase


TestPoolUnderAnyDeath.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


class PoolWhereTasksWaitBehindLongOnes(PoolUnderAnyDeath):
    """No deaths, only work, so that many tasks are taken back."""

    submit = gives_up = dies = fails_to_start = resize = None

    def __init__(self):
        super().__init__()
        self.do(self.pool.resize(3, 3, 0.0))
        while self.starting:
            self.comes_up()
        super().submit(0, None, 0, 36)


TestPoolWhereTasksWaitBehindLongOnes = PoolWhereTasksWaitBehindLongOnes.TestCase


TestPoolWhereTasksWaitBehindLongOnes.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None
)
