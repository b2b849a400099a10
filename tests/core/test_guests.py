"""Guests in the job's machine: how they join, what ends with them, and when their job is over."""

import pytest

from cmpi._core.job.job_actions import FinishJob, Order, Tell
from cmpi._core.protocol import monitor_root, process_root
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import CORE, a_job, join, of, spawn, told

LEFT, KILLED = ExitStatus(0), ExitStatus(1, 0, "it ended without leaving the job")


def a_guest(j):
    pid, _ = j.guest_up("python, process 1", "h", 0.0)
    actions = join(j, pid)
    return pid, actions


def standing(**settings):
    j, _ = a_job(0, standing=True, **settings)
    return j


def a_child(j, parent, **how):
    """A running process, spawned by `parent`."""
    (spawned,) = told(spawn(j, parent, cpus=CORE // 4, **how), process_root.Spawned)
    j.fork_server("h", "ready")
    (child,) = spawned.pids
    j.monitor_up(j.processes[child].start, 0, 0.0)
    join(j, child)
    return child


def signals(actions):
    return [(a.pid, a.frame.signal) for a in of(Order, actions) if isinstance(a.frame, monitor_root.Signal)]


def test_a_guest_gets_its_identity_and_holds_no_resources():
    j = standing()
    pid, actions = a_guest(j)
    (welcome,) = told(actions, process_root.Welcome)
    assert (welcome.pid, welcome.parent, welcome.world) == (pid, NO_PID, [])
    free = j.requests.capacity().free
    assert free == j.requests.capacity().total
    assert j.processes[pid].title == f"guest · {pid:07x}" and not j.processes[pid].is_rank


def test_the_end_of_a_guest_ends_its_descendants_and_no_other_process():
    j = standing()
    (mine, _), (other, _) = a_guest(j), a_guest(j)
    child = a_child(j, mine)
    grandchild, stranger = a_child(j, child), a_child(j, other)
    actions = j.guest_ended(mine, LEFT, 1.0)
    assert signals(actions) == [(child, 15), (grandchild, 15)]
    assert signals(j.tick(10.0)) == [(child, 9), (grandchild, 9)]
    assert j.exited(child, ExitStatus(143, 15), 10.0) and j.processes[child].status.ok
    assert j.processes[stranger].status is None


def test_what_a_guest_has_detached_and_its_children_outlive_the_guest():
    j = standing()
    mine, _ = a_guest(j)
    child = a_child(j, mine, detached=True)
    grandchild = a_child(j, child)
    assert signals(j.guest_ended(mine, LEFT, 1.0)) == []
    assert told(spawn(j, child, request=8, cpus=CORE // 4), process_root.Spawned)
    assert signals(j.interrupt(15, 2.0))[:2] == [(child, 15), (grandchild, 15)]


def test_a_child_of_a_guest_that_has_gone_can_start_nothing_any_more():
    j = standing()
    mine, _ = a_guest(j)
    child = a_child(j, mine)
    waiting = spawn(j, child, request=7, cpus=100 * CORE, wait=1)
    j.guest_ended(mine, LEFT, 1.0)
    assert spawn(j, child, request=8) == [] and told(waiting, process_root.Refused)


def test_the_peers_of_a_guest_hear_of_its_end():
    j = standing()
    (mine, _), (other, _) = a_guest(j), a_guest(j)
    j.from_rank(other, process_root.Watch(mine), 0.0)
    (ended,) = told(j.guest_ended(mine, KILLED, 1.0), process_root.Ended)
    assert (ended.pid, ended.code, ended.requested) == (mine, 1, False)


def test_a_standing_job_goes_on_without_processes_until_it_is_interrupted():
    j = standing()
    mine, _ = a_guest(j)
    assert not of(FinishJob, j.guest_ended(mine, KILLED, 1.0))
    assert of(FinishJob, j.interrupt(15, 2.0)) == [FinishJob(143)]
    assert j.guest_up("late", "h", 3.0) == (None, [])


def test_a_job_that_is_ended_tells_its_guests_first_and_waits_for_what_they_spawned():
    j = standing()
    mine, _ = a_guest(j)
    child = a_child(j, mine)
    assert signals(j.interrupt(15, 1.0, code=0)) == [(mine, 15), (child, 15)]
    assert signals(j.guest_ended(mine, LEFT, 1.0)) == [], "it was told already"
    assert of(FinishJob, j.exited(child, ExitStatus(143, 15), 1.5)) == [FinishJob(0)]


def test_a_job_with_a_program_lasts_as_long_as_its_guests_whose_ends_are_no_failures():
    j, (rank,) = a_job()
    mine, _ = a_guest(j)
    assert not of(FinishJob, j.exited(rank, LEFT, 1.0))
    assert of(FinishJob, j.guest_ended(mine, KILLED, 2.0)) == [FinishJob(0)]


def failures(j, pid):
    (tell,) = of(Tell, j.from_rank(pid, process_root.AskFailures(5), 0.0))
    assert (tell.pid, tell.frame.request) == (pid, 5)
    return tell.frame.pids


@pytest.mark.parametrize("looked_at", [False, True])
def test_failures_are_those_of_the_guest_whose_process_it_was(looked_at):
    j = standing()
    (mine, _), (other, _) = a_guest(j), a_guest(j)
    child = a_child(j, mine)
    j.exited(child, ExitStatus(3), 1.0)
    if looked_at:
        j.from_rank(mine, process_root.LookedAt(child, True), 1.0)
    assert failures(j, mine) == ([] if looked_at else [child]) and failures(j, other) == []
    assert of(FinishJob, j.interrupt(15, 2.0, code=0)) == [] and j.programs[NO_PID].failures.first() is None
