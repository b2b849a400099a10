"""How a job's processes end: deaths, kills, interrupts, failed starts, and which failures count."""

import pytest

from cmpi._core.job.job_actions import Died, FinishJob, Order, Say
from cmpi._core.job.kill_timers import KILL_AFTER_S
from cmpi._core.job.process_table import START_S
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_connections import Connect
from cmpi._core.protocol.process_root_links import LinkWith
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import CORE, a_job, a_job_that_spawns, join, of, signals, spawn, told


def test_ranks_of_a_world_end_together_and_only_the_first_failure_counts():
    j, (a, b, c) = a_job(3)
    actions = j.exited(b, ExitStatus(3), 0.0)
    assert [o.pid for o in of(Order, actions)] == [a, c]
    j.exited(a, ExitStatus(143, 15), 0.1)
    (finish,) = of(FinishJob, j.exited(c, ExitStatus(0), 0.1))
    assert finish.code == 3 and j.programs[NO_PID].failures.first().pid == b
    assert j.processes[a].status.ok


def test_ranks_that_do_not_end_with_their_world_are_killed_after_a_second():
    j, (a, b) = a_job(2)
    j.exited(a, ExitStatus(1), 0.0)
    assert j.deadline_s() == KILL_AFTER_S
    assert j.tick(KILL_AFTER_S) == [Order(b, monitor_root.Signal(9, 0.0))]


def test_the_death_of_a_spawned_process_ends_no_other():
    j, a, (child,) = a_job_that_spawns()
    actions = j.exited(child, ExitStatus(139, 11), 0.0)
    assert not of(Order, actions) and not of(FinishJob, actions)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(139)]


def test_a_requested_kill_is_no_failure():
    j, a, (child,) = a_job_that_spawns()
    j.monitor_up(1, 0, 0.0)
    assert of(Order, j.from_rank(a, process_root.Kill(child, 9), 0.0))
    j.exited(child, ExitStatus(137, 9), 0.0)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(0)]


@pytest.mark.parametrize("launcher_first", [False, True])
def test_killing_a_process_ends_its_world_and_counts_as_requested(launcher_first):
    j, a, (b, c, d) = a_job_that_spawns(3)
    for rank in range(3):
        j.monitor_up(1, rank, 0.0)
    j.from_rank(a, process_root.Kill(c, 9), 0.0)
    if launcher_first:  # the other rank's end is reported before that of the killed one
        j.exited(b, ExitStatus(137, 9), 0.0, by_launcher=True)
        j.exited(c, ExitStatus(137, 9), 0.0)
    else:
        actions = j.exited(c, ExitStatus(137, 9), 0.0)
        assert of(Order, actions) == [
            Order(b, monitor_root.Signal(15, 0.0)),
            Order(d, monitor_root.Signal(15, 0.0)),
        ]
        j.exited(b, ExitStatus(143, 15), 0.0)
    j.exited(d, ExitStatus(137, 9), 0.0, by_launcher=launcher_first)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(0)]


def test_a_process_killed_while_it_starts_never_runs():
    j, a, (child,) = a_job_that_spawns()
    assert j.from_rank(a, process_root.Kill(child, 9), 0.0) == []
    pid, actions = j.monitor_up(1, 0, 0.0)
    assert pid is None and of(Died, actions)


def linking_pair():
    j, a, (spawned,) = a_job_that_spawns()
    j.monitor_up(1, 0, 0.0)
    join(j, spawned)
    j.from_rank(a, Connect(spawned), 0.0)
    return j, a, spawned


def a_watched_start():
    """A child that is being started, and that its parent watches."""
    j, a, (child,) = a_job_that_spawns()
    j.from_rank(a, process_root.Watch(child), 0.0)
    return j


def test_a_start_without_any_report_fails_in_the_end():
    j = a_watched_start()
    assert j.tick(100.0) == [] and j.deadline_s() == 100.0 + START_S
    (ended,) = told(j.tick(100.0 + START_S), process_root.Ended)
    assert ended.code == 126 and "no monitor within" in ended.verdict
    assert j.deadline_s() is None


def test_a_closure_that_never_gets_through_mpi_init_fails_in_the_end_and_a_rank_need_not_start_mpi():
    j = a_watched_start()
    j.monitor_up(1, 0, 40.0)
    assert j.tick(40.0 + START_S - 1) == []
    actions = j.tick(40.0 + START_S)
    (ended,) = told(actions, process_root.Ended)
    assert ended.code == 126 and "MPI_Init" in ended.verdict
    assert [order.frame for order in of(Order, actions)] == [monitor_root.Signal(9, 0.0)]
    j, _ = a_job(2)
    assert j.tick(1e6) == [] and j.deadline_s() is None


def test_a_start_that_mpi_cannot_complete_spares_running_processes():
    j, _, _ = linking_pair()
    assert j.start_failed(1, "timed out", 0.0) == []


def test_ranks_ended_by_the_launcher_before_the_culprit_reports_are_not_blamed():
    j, (a, b) = a_job(2)
    j.exited(a, ExitStatus(137, 9), 0.0, by_launcher=True)
    assert of(FinishJob, j.exited(b, ExitStatus(139, 11), 0.0)) == [FinishJob(139)]


def test_a_job_ended_by_the_launcher_alone_is_a_failure():
    j, (a,) = a_job(1)
    assert of(FinishJob, j.exited(a, ExitStatus(137, 9), 0.0, by_launcher=True)) == [FinishJob(137)]


def test_ctrl_c_sends_sigint_then_sigterm_then_sigkill_and_then_gives_up():
    j, (a, b) = a_job(2)
    assert signals(j.interrupt(2, 100.0)) == [(a, 2), (b, 2)]
    (notice,) = of(Say, j.tick(101.0))
    assert "for rank 0, rank 1 to end; SIGTERM follows in 4 s, SIGKILL follows in 9 s" in notice.text
    assert j.deadline_s() == 105.0 and signals(j.tick(105.0)) == [(a, 15), (b, 15)]
    j.exited(a, ExitStatus(143, 15), 106.0)
    assert signals(j.tick(110.0)) == [(b, 9)]
    assert j.processes[a].status.ok and of(FinishJob, j.tick(111.0)) == [FinishJob(130)]


def test_an_interrupted_job_refuses_to_start_what_waits_for_room_and_what_is_asked_for_later():
    j, (a,) = a_job()
    join(j, a)
    assert not told(spawn(j, a, request=7, cpus=99 * CORE), process_root.Spawned)
    spawn(j, a, request=8, cpus=4 * CORE)
    waits = told(spawn(j, a, request=9, cpus=4 * CORE), process_root.Spawned)
    assert waits == []
    (refused,) = told(j.interrupt(2, 0.0), process_root.Refused)
    assert refused.request == 9 and refused.never and "the job was interrupted" in refused.reason
    (refused,) = told(spawn(j, a, request=10), process_root.Refused)
    assert refused.request == 10


def test_sigterm_is_passed_on_with_the_same_grace():
    j, (a,) = a_job(grace_s=4.0)
    assert of(Order, j.interrupt(15, 0.0)) == [Order(a, monitor_root.Signal(15, 4.0))]
    assert signals(j.tick(3.9)) == [] and signals(j.tick(4.0)) == [(a, 9)]
    assert of(FinishJob, j.exited(a, ExitStatus(0), 4.1)) == [FinishJob(143)]


def test_slurms_sigterm_is_not_sent_a_second_time_but_has_its_grace():
    j, (a,) = a_job(grace_s=4.0)
    order = Order(a, monitor_root.Signal(15, 4.0, by_slurm=True))
    assert of(Order, j.interrupt(15, 0.0, by_slurm=True)) == [order]
    assert of(Order, j.tick(4.0)) == [Order(a, monitor_root.Signal(9))]


def test_a_second_ctrl_c_is_sigkill():
    j, (a, b) = a_job(2)
    j.interrupt(2, 0.0)
    assert signals(j.hurry(0.5)) == [(a, 9), (b, 9)]
    assert of(FinishJob, j.tick(1.5)) == [FinishJob(130)]


def a_failed_child(strict=False):
    """A job, its rank, and a child of that rank which has ended with code 3."""
    j, (a,) = a_job(strict=strict)
    join(j, a)
    j.fork_server("h", "ready")
    (child,) = told(spawn(j, a), process_root.Spawned)
    j.exited(child.pids[0], ExitStatus(3), 0.0)
    return j, a, child.pids[0]


@pytest.mark.parametrize(
    "looked, strict, code", [([], 0, 3), ([1], 0, 0), ([1, 0], 0, 3), ([0], 0, 3), ([1], 1, 3)]
)
def test_a_handled_failure_does_not_fail_the_job(looked, strict, code):
    j, a, child = a_failed_child(bool(strict))
    for handled in looked:
        assert j.from_rank(a, process_root.LookedAt(child, handled), 0.0) == []
    j.from_rank(a, process_root.LookedAt(12345, 1), 0.0)  # there is no such process
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(code)]


def test_an_end_by_a_link_does_not_count_as_dealing_with_the_failure():
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    child, linked = (told(spawn(j, a, i), process_root.Spawned)[0].pids[0] for i in range(2))
    j.from_rank(linked, LinkWith(child, True), 0.0)
    j.from_rank(linked, process_root.LookedAt(child, 1), 0.0)
    j.exited(child, ExitStatus(3), 0.0)
    j.from_rank(linked, process_root.LookedAt(child, 1), 0.0)
    j.exited(linked, ExitStatus(143, 15), 0.0)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(3)]


def test_a_failed_rank_fails_the_job_even_if_the_failure_was_handled():
    j, (a, b) = a_job(2)
    j.from_rank(b, process_root.LookedAt(a, 1), 0.0)
    j.exited(a, ExitStatus(5), 0.0)
    assert of(FinishJob, j.exited(b, ExitStatus(143, 15), 0.0)) == [FinishJob(5)]


def test_linking_to_an_ended_process_fails_with_the_reason():
    j, a, child = a_failed_child()
    actions = j.from_rank(a, LinkWith(child, True), 0.0)
    assert signals(actions) == [(a, 15)] and signals(j.tick(KILL_AFTER_S)) == [(a, 9)]
    j.from_rank(a, process_root.LookedAt(child, 1), 0.0)
    assert of(FinishJob, j.exited(a, ExitStatus(143, 15), 0.0)) == [FinishJob(143)]
    assert (
        j.programs[NO_PID].failures.first().status.verdict
        == f"linked itself with {child:07x}, which had ended before"
    )


def test_a_start_that_mpi_refuses_is_the_end_of_the_process_with_the_reason():
    j = a_watched_start()
    (ended,) = told(j.start_failed(1, "no slots", 0.0), process_root.Ended)
    assert ended.code == 126 and "no slots" in ended.verdict


def test_a_forgotten_start_may_be_reported_as_failed_again():
    j, _ = a_job()
    assert j.start_failed(max(j.starts) + 1, "stuck", 0.0) == []
