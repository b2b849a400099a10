"""The pool's machine: who gets which task, what is sent ahead or taken back, retries and limits."""

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
