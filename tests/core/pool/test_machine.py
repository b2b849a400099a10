"""The pool's machine: no task is lost, and none runs more often than its retries allow, whichever worker
dies."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmpi._core.pool import machine, worker_table
from cmpi._core.pool.actions import (
    Break,
    FailTask,
    KillWorker,
    Recall,
    RetireWorker,
    Send,
    StartWorker,
)
from cmpi._core.pool.machine import PoolMachine
from cmpi._core.pool.prefetch import MAX_PREFETCH_BYTES


def of(kind, actions):
    return [action for action in actions if isinstance(action, kind)]


def a_pool(workers=2, **options):
    """A machine whose workers are up."""
    pool = PoolMachine(workers, workers, **options)
    started = [action.worker for action in pool.begin()]
    for worker in started:
        assert pool.worker_up(worker, 0.0, recallable=True) == []
    return pool


def result(pool, worker, task, elapsed_s, now_s=0.0):
    return pool.results(worker, [(task, elapsed_s)], now_s)


def a_pool_of_short_tasks(*tasks, **options):
    """One worker with these tasks: it was sent the first one alone, and the others when it had answered."""
    pool = a_pool(1, **options)
    pool.submit(-2, 0.0)
    pool.submit(-1, 0.0)
    for task in tasks:
        pool.submit(task, 0.0)
    result(pool, 0, -2, 0.0001)
    result(pool, 0, -1, 0.0001)
    pool.completed = 0
    return pool


def test_the_first_tasks_go_one_to_each_worker_and_the_next_when_one_has_answered():
    pool = a_pool()
    assert [pool.submit(task, 0.0) for task in range(3)] == [[Send(1, (0,))], [Send(0, (1,))], []]
    assert result(pool, 0, 1, 5.0) == [Send(0, (2,))]


def test_the_worker_that_answered_last_gets_the_next_task_as_it_may_still_be_awake():
    pool = a_pool(3)
    pool.submit(0, 0.0)
    pool.submit(1, 0.0)
    result(pool, 2, 0, 0.1)
    result(pool, 1, 1, 0.1)
    assert pool.submit(2, 0.0) == [Send(1, (2,))]


def test_short_tasks_are_sent_ahead_and_long_ones_are_not():
    pool = a_pool(1)
    for task in range(10):
        pool.submit(task, 0.0)
    assert result(pool, 0, 0, 0.001) == [Send(0, tuple(range(1, 10)))]
    for task in range(1, 10):
        result(pool, 0, task, 1.0)
    assert [pool.submit(task, 0.0) for task in (10, 11, 12)] == [[Send(0, (10,))], [], []]
    assert result(pool, 0, 10, 1.0) == [Send(0, (11, 12))], "one ahead, as it can be taken back"
    pool.workers[0].recallable = False
    assert [pool.submit(task, 0.0) for task in (13, 14)] == [[], []]
    assert result(pool, 0, 11, 1.0) == []
    assert result(pool, 0, 12, 1.0) == [Send(0, (13,))]


def a_worker_with_a_long_task():
    """Worker 1 runs task 0 with tasks 1 and 2 behind it, and worker 0 is idle at 7.0."""
    pool = a_pool(2)
    pool.submit(8, 0.0)
    pool.submit(9, 0.0)
    for task in range(6):
        pool.submit(task, 0.0)
    assert result(pool, 1, 8, 0.0001) == [Send(1, (0, 1, 2))]
    assert result(pool, 0, 9, 0.0001) == [Send(0, (3, 4))]
    assert pool.results(0, [(3, 0.0001), (4, 0.0001)], 7.0) == [Send(0, (5,))]
    assert result(pool, 0, 5, 0.0001, 7.0) == []
    return pool


def test_tasks_behind_a_long_one_are_taken_back_for_a_worker_with_nothing_to_do():
    pool = a_worker_with_a_long_task()
    assert pool.deadline_s() == machine.STEAL_S and pool.tick(0.0) == []
    assert pool.tick(7.0) == [Recall(1, first=3, count=2)]
    assert pool.recalled(1, begun=2, now_s=7.0) == [Send(0, (1,))]
    assert pool.submit(6, 7.0) == []
    assert result(pool, 1, 0, 7.0, 7.0) == [], "it has to leave two out before it gets more"
    assert pool.left_out(1, 1, 7.0) == []
    assert pool.left_out(1, 2, 7.0) == [Send(1, (2,))], "which was taken back, and is sent anew"


def test_a_task_that_seems_to_have_begun_is_taken_back_only_once_its_worker_has_left_it_out():
    pool = a_worker_with_a_long_task()
    pool.tick(7.0)
    assert pool.recalled(1, begun=3, now_s=7.0) == [Send(0, (2,))]
    result(pool, 1, 0, 7.0, 7.0)
    assert pool.left_out(1, 1, 7.0) == [] and list(pool.waiting) == [1]
    assert pool.left_out(1, 2, 7.0) == [Send(1, (1,))]


def test_a_killed_task_that_is_taken_back_is_over():
    pool = a_worker_with_a_long_task()
    pool.kill(2)
    pool.tick(7.0)
    assert pool.recalled(1, 2, 7.0) == [FailTask(2, 0, killed=True), Send(0, (1,))]


def test_tasks_of_a_kind_that_is_not_known_are_not_sent_ahead():
    pool = a_pool(1)
    pool.submit(0, 0.0, kind=1)
    for task in range(1, 4):
        pool.submit(task, 0.0, kind=2)
    assert result(pool, 0, 0, 0.0001) == [Send(0, (1,))]


def test_a_worker_takes_no_more_than_its_share_of_those_that_wait():
    pool = a_pool(2)
    for task in range(12):
        pool.submit(task, 0.0)
    assert result(pool, 1, 0, 0.0001) == [Send(1, (2, 3, 4, 5, 6))]
    assert result(pool, 0, 1, 0.0001) == [Send(0, (7, 8, 9))]


def test_a_worker_gets_more_when_it_holds_half_of_what_it_may():
    pool = a_pool(1)
    for task in range(30):
        pool.submit(task, 0.0)
    assert result(pool, 0, 0, 0.001) == [Send(0, tuple(range(1, 13)))]
    sent = [of(Send, result(pool, 0, task, 0.001)) for task in range(1, 7)]
    assert sent == [[]] * 5 + [[Send(0, tuple(range(13, 19)))]]


def test_large_arguments_are_not_sent_ahead():
    pool = a_pool_of_short_tasks()
    pool.submit(0, 0.0, nbytes=MAX_PREFETCH_BYTES)
    for task in range(1, 4):
        pool.submit(task, 0.0, nbytes=MAX_PREFETCH_BYTES)
    assert result(pool, 0, 0, 0.0001) == [Send(0, (1,))]


def test_a_death_is_charged_to_the_task_that_ran_and_to_no_other():
    pool = a_pool_of_short_tasks(0, 1, 2)
    actions = pool.worker_ended(0, 0.0)
    assert actions == [FailTask(0, 1), StartWorker(1)]
    assert pool.worker_up(1, 0.0) == [Send(1, (1, 2))]


def test_tasks_that_a_worker_has_begun_without_the_pools_knowledge_are_not_sent_to_another():
    pool = a_pool_of_short_tasks(0, 1, 2)
    first = pool.first_unanswered(0)
    actions = pool.worker_ended(0, 0.0, first + 1)
    assert actions == [FailTask(0, 1), FailTask(1, 1), StartWorker(1)]
    assert pool.worker_up(1, 0.0) == [Send(1, (2,))]


def test_a_task_is_tried_again_at_once_then_later_each_time_and_then_given_up():
    pool = a_pool(1)
    pool.submit(0, 0.0, retries=2)
    (start,) = pool.worker_ended(0, 0.0)
    assert pool.worker_up(start.worker, 0.0) == [Send(1, (0,))]
    (start,) = pool.worker_ended(1, 1.0)
    assert pool.worker_up(start.worker, 1.0) == []
    assert pool.deadline_s() == 1.0 + machine.BACKOFF_S
    assert pool.tick(1.0 + machine.BACKOFF_S) == [Send(2, (0,))]
    assert FailTask(0, 3) in pool.worker_ended(2, 2.0)


def test_a_task_that_runs_too_long_is_ended_with_its_worker_and_is_not_tried_again():
    pool = a_pool(1)
    pool.submit(0, 0.0, retries=5, timeout_s=2.0)
    assert pool.deadline_s() == 2.0 and pool.tick(1.0) == []
    assert pool.tick(2.0) == [KillWorker(0), StartWorker(1)]
    assert FailTask(0, 0, killed=True, late=True) in pool.worker_ended(0, 2.0)


def test_the_time_limit_counts_from_when_a_task_runs_not_from_when_it_was_sent():
    pool = a_pool(1)
    for task in range(2):
        pool.submit(task, 0.0)
    pool.submit(2, 0.0, timeout_s=2.0)
    result(pool, 0, 0, 0.0001, 1.0)
    assert pool.tasks[2].worker == 0 and pool.deadline_s() is None
    result(pool, 0, 1, 6.0, 7.0)
    assert pool.deadline_s() == 9.0


def test_a_killed_task_that_waits_behind_another_ends_when_its_turn_comes():
    pool = a_pool_of_short_tasks(0, 1)
    assert pool.kill(1) == []
    assert result(pool, 0, 0, 0.1) == [KillWorker(0), StartWorker(1)]
    assert FailTask(1, 0, killed=True) in pool.worker_ended(0, 0.0)


def test_only_a_task_that_no_worker_has_can_be_cancelled():
    pool = a_pool(1)
    pool.submit(0, 0.0)
    pool.submit(1, 0.0)
    assert not pool.cancel(0) and pool.cancel(1) and not pool.cancel(1)
    assert result(pool, 0, 0, 1.0) == []


def test_a_worker_is_replaced_after_so_many_tasks():
    pool = a_pool(1, max_tasks=3)
    for task in range(4):
        pool.submit(task, 0.0)
    assert result(pool, 0, 0, 0.0001) == [Send(0, (1, 2))]
    assert list(pool.waiting) == [3], "the fourth is for the next worker"
    assert result(pool, 0, 1, 0.1) == [RetireWorker(0), StartWorker(1)]
    assert result(pool, 0, 2, 0.1) == []
    assert pool.worker_ended(0, 0.0) == [] and pool.deaths == 0
    assert pool.worker_up(1, 0.0) == [Send(1, (3,))]


def test_after_three_failed_starts_in_a_row_all_tasks_fail():
    pool = PoolMachine(1, 1)
    (start,) = pool.begin()
    pool.submit(0, 0.0)
    (start,) = pool.start_failed(start.worker)
    (start,) = pool.start_failed(start.worker)
    assert pool.start_failed(start.worker) == [FailTask(0, 0), Break()]
    assert pool.submit(1, 0.0) == [FailTask(1, 0)]


def test_a_pool_with_a_minimum_grows_with_its_tasks_and_shrinks_when_idle():
    pool = PoolMachine(1, 3)
    (start,) = pool.begin()
    pool.worker_up(start.worker, 0.0)
    started = [action for task in range(5) for action in of(StartWorker, pool.submit(task, 0.0))]
    assert len(started) == 2
    for action in started:
        pool.worker_up(action.worker, 0.0)
    for worker, task in [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4)]:
        result(pool, worker, task, 1.0, 1.0)
    assert pool.deadline_s() == 1.0 + worker_table.IDLE_S
    assert len(of(RetireWorker, pool.tick(1.0 + worker_table.IDLE_S))) == 2


def test_a_smaller_pool_lets_the_workers_with_the_least_to_do_go():
    pool = a_pool(3)
    pool.submit(0, 0.0)
    assert of(RetireWorker, pool.resize(1, 1, 0.0)) == [RetireWorker(0), RetireWorker(1)]


def test_a_closed_pool_dismisses_its_workers_with_the_last_task():
    pool = a_pool(2)
    pool.submit(0, 0.0)
    assert pool.close() == []
    result(pool, 1, 0, 1.0, 1.0)
    assert pool.settled() == [RetireWorker(0), RetireWorker(1)]


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
