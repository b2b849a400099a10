import pytest

from cmpi._core.job.host_room import Host
from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import Born, Died, FinishJob, Launch, NeedForkServer, Order, Say, Tell
from cmpi._core.job.kill_timers import KILL_AFTER_S
from cmpi._core.job.process_table import START_S
from cmpi._core.job.report import deadlock_report
from cmpi._core.job.spawn_queue import LATE_S
from cmpi._core.limits import KILL, NONE, WARN
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_connections import Connect
from cmpi._core.protocol.process_root_links import LinkWith
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.frames import spawn_frame

CORE, GIB = 65536, 1 << 30


def a_job(n=1, cpus=4, rank_cpus=0, **settings):
    j = JobMachine([Host("h", cpus * CORE, 8 * GIB)], **settings)
    j.launch(["prog"], ["h"] * n, rank_cpus)
    for rank in range(n):
        j.monitor_up(0, rank, 0.0)
    return j, j.starts[0]


def join(j, pid, memory="here", **kw):
    asks = {"asks": 0, "cpu_units": 0, "memory_bytes": 0} | kw
    return j.from_rank(
        pid, process_root.Join(memory=memory, python="python", asks_memory=True, **asks), 0.0
    )


def spawn(j, pid, request=1, cpus=CORE, wait=1, host="", near=NO_PID, n=1):
    asks = {"asks_cpus": True, "asks_memory": True}
    return j.from_rank(
        pid, spawn_frame(request, cpus, wait=bool(wait), host=host, near=near, n=n, **asks), 0.0
    )


def of(kind, actions):
    return [a for a in actions if isinstance(a, kind)]


def told(actions, kind):
    return [a.frame for a in of(Tell, actions) if isinstance(a.frame, kind)]


def test_ranks_are_one_start_and_have_distinct_pids():
    j = JobMachine([Host("h", 4 * CORE, GIB)], seed=5)
    actions = j.launch(["prog", "x"], ["h"] * 3)
    (launch,) = of(Launch, actions)
    assert len(set(launch.pids)) == 3 and not launch.forked
    assert [b.pid for b in of(Born, actions)] == launch.pids
    assert all(pid < 1 << 28 for pid in launch.pids)


def test_a_joining_rank_learns_its_identity_and_the_fork_server_starts_once():
    j, (a, b) = a_job(2)
    actions = join(j, b)
    (welcome,) = told(actions, process_root.Welcome)
    assert (welcome.pid, welcome.parent, welcome.rank, welcome.world) == (b, NO_PID, 1, [a, b])
    assert of(NeedForkServer, actions) and not of(NeedForkServer, join(j, a))


def test_joining_twice_has_no_further_effect():
    j, (a,) = a_job()
    join(j, a)
    assert join(j, a) == []


def test_a_spawn_waits_for_the_fork_server_and_goes_by_exec_if_it_dies():
    j, (a,) = a_job()
    join(j, a)
    actions = spawn(j, a)
    assert told(actions, process_root.Spawned) and not of(Launch, actions)
    (launch,) = of(Launch, j.fork_server("h", "ready"))
    assert launch.forked
    j.fork_server("h", "dead")
    (launch,) = of(Launch, spawn(j, a, 2))
    assert not launch.forked


def test_a_spawned_process_gets_its_closure_with_its_welcome_and_only_once():
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (spawned,) = told(spawn(j, a), process_root.Spawned)
    j.monitor_up(1, 0, 0.0)
    actions = join(j, spawned.pids[0])
    assert told(actions, process_root.Closure) == [process_root.Closure(b"f", b"ctx", 1)]
    assert told(actions, process_root.Welcome)[0].parent == a


def test_resources_come_back_when_a_process_ends_and_the_next_in_line_starts():
    j, (a,) = a_job(cpus=1)
    join(j, a)
    j.fork_server("h", "ready")
    (first,) = told(spawn(j, a, 1), process_root.Spawned)
    assert not told(spawn(j, a, 2), process_root.Spawned)
    assert told(j.exited(first.pids[0], ExitStatus(9), 0.0), process_root.Spawned)


def test_a_request_that_was_cancelled_starts_nothing():
    j, (a,) = a_job(cpus=1)
    join(j, a)
    j.fork_server("h", "ready")
    (first,) = told(spawn(j, a, 1), process_root.Spawned)
    spawn(j, a, 2)
    j.from_rank(a, process_root.Cancel(2), 0.0)
    assert not told(j.exited(first.pids[0], ExitStatus(0), 0.0), process_root.Spawned)


def test_requests_of_a_process_that_died_are_forgotten():
    j, (a, _) = a_job(2, cpus=1)
    join(j, a)
    j.fork_server("h", "ready")
    told(spawn(j, a, 1), process_root.Spawned)
    spawn(j, a, 2)
    assert j.requests.scheduler.waiting == 1
    j.exited(a, ExitStatus(0), 0.0)
    assert j.requests.scheduler.waiting == 0


def test_watchers_learn_of_an_end_at_once_or_when_they_ask_later():
    j, (a, b) = a_job(2)
    assert j.from_rank(a, process_root.Watch(b), 0.0) == [
        Tell(a, process_root.Alive(b, process_root.MEMORY_UNKNOWN))
    ]
    (ended,) = told(j.exited(b, ExitStatus(0), 0.0), process_root.Ended)
    assert (ended.pid, ended.code) == (b, 0)
    assert told(j.from_rank(a, process_root.Watch(b), 0.0), process_root.Ended) == [ended]


def test_a_watcher_learns_whether_memory_is_shared_once_both_have_joined():
    j = JobMachine([Host("h", CORE, GIB)], shared_memory_bytes=1)
    j.launch(["prog"], ["h"] * 3)
    a, b, c = j.starts[0]
    join(j, a)
    assert (
        told(j.from_rank(a, process_root.Watch(b), 0.0), process_root.Alive)[0].memory
        == process_root.MEMORY_LIKELY
    )
    assert told(join(j, b), process_root.Alive) == [process_root.Alive(b, process_root.MEMORY_SHARED)]
    join(j, c, memory="a container's")
    assert (
        told(j.from_rank(a, process_root.Watch(c), 0.0), process_root.Alive)[0].memory
        == process_root.MEMORY_APART
    )


def test_watching_an_unknown_pid_reports_no_such_process():
    j, (a,) = a_job()
    (ended,) = told(j.from_rank(a, process_root.Watch(123), 0.0), process_root.Ended)
    assert "no such process" in ended.verdict


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
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (child,) = told(spawn(j, a), process_root.Spawned)
    actions = j.exited(child.pids[0], ExitStatus(139, 11), 0.0)
    assert not of(Order, actions) and not of(FinishJob, actions)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(139)]


def test_a_requested_kill_is_no_failure():
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (child,) = told(spawn(j, a), process_root.Spawned)
    j.monitor_up(1, 0, 0.0)
    assert of(Order, j.from_rank(a, process_root.Kill(child.pids[0], 9), 0.0))
    j.exited(child.pids[0], ExitStatus(137, 9), 0.0)
    assert of(FinishJob, j.exited(a, ExitStatus(0), 0.0)) == [FinishJob(0)]


@pytest.mark.parametrize("launcher_first", [False, True])
def test_killing_a_process_ends_its_world_and_counts_as_requested(launcher_first):
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (group,) = told(spawn(j, a, n=3), process_root.Spawned)
    b, c, d = group.pids
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
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (child,) = told(spawn(j, a), process_root.Spawned)
    assert j.from_rank(a, process_root.Kill(child.pids[0], 9), 0.0) == []
    pid, actions = j.monitor_up(1, 0, 0.0)
    assert pid is None and of(Died, actions)


def linking_pair():
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (spawned,) = told(spawn(j, a), process_root.Spawned)
    j.monitor_up(1, 0, 0.0)
    join(j, spawned.pids[0])
    j.from_rank(a, Connect(spawned.pids[0]), 0.0)
    return j, a, spawned.pids[0]


def a_watched_start():
    """A child that is being started, and that its parent watches."""
    j, (a,) = a_job()
    join(j, a)
    j.fork_server("h", "ready")
    (child,) = told(spawn(j, a), process_root.Spawned)
    j.from_rank(a, process_root.Watch(child.pids[0]), 0.0)
    return j


def test_a_start_without_any_report_fails_in_the_end():
    j = a_watched_start()
    assert j.tick(100.0) == [] and j.deadline_s() == 100.0 + START_S
    (ended,) = told(j.tick(100.0 + START_S), process_root.Ended)
    assert ended.code == 126 and "nothing came up" in ended.verdict
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


def signals(actions):
    return [(o.pid, o.frame.signal) for o in of(Order, actions)]


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


def test_capacity_reports_total_and_free_resources():
    j, (a,) = a_job(cpus=2)
    (answer,) = told(j.from_rank(a, process_root.AskCapacity(4), 0.0), process_root.CapacityIs)
    assert answer.total_cpu_units == 2 * CORE
    assert answer.free_cpu_units == 2 * CORE, "a rank holds nothing"
    spawn(j, a)
    (answer,) = told(j.from_rank(a, process_root.AskCapacity(4), 0.0), process_root.CapacityIs)
    assert answer.free_cpu_units == CORE


def test_ranks_hold_the_resources_of_the_command_line():
    j = JobMachine([Host("h", 4 * CORE, 8 * GIB)])
    j.launch(["prog"], ["h"] * 2, CORE)
    assert j.requests.capacity().free.cpus == 2


def test_a_rank_may_ask_for_more_when_it_joins():
    j, (a,) = a_job(cpus=2)
    join(j, a, asks=1, cpu_units=CORE, memory_bytes=GIB)
    assert j.requests.capacity().free.cpu_units == CORE


def spawned(j, **changes):
    """A spawned process, and the limit that its monitor is sent."""
    a = j.starts[0][0]
    frame = spawn_frame(cpu_units=CORE // 16, memory_bytes=100, **changes)
    (reply,) = told(j.from_rank(a, frame, 0.0), process_root.Spawned)
    _, actions = j.monitor_up(len(j.starts) - 1, 0, 0.0)
    return j.processes[reply.pids[0]], of(Order, actions)[0].frame


@pytest.mark.parametrize("mode, asked", [("", KILL), ("none", NONE), ("warn", WARN), ("kill", KILL)])
def test_a_process_that_asked_for_memory_is_killed_for_more_and_one_that_did_not_has_no_limit(mode, asked):
    j = JobMachine([Host("h", 4 * CORE, 8 * GIB)], enforce=mode)
    j.launch(["prog"], ["h"] * 1)
    assert spawned(j, asks_memory=1)[1] == monitor_root.Limit(100, asked, 100)
    assert spawned(j, asks_memory=0)[1] == monitor_root.Limit(100, NONE, 100)
    assert spawned(j, asks_cpus=1)[1].cpu_weight == 6, "of a sixteenth of a core"


def test_a_process_killed_for_its_memory_has_that_verdict():
    j, _ = a_job(1)
    process, _ = spawned(j, asks_memory=1)
    assert j.over_memory(process.pid, monitor_root.OverMemory(412 << 20, 1, "12:00:03")) == []
    j.exited(process.pid, ExitStatus(137, 9), 0.0)
    assert process.status.verdict == "out of memory: asked 100 B, used 412 MiB at 12:00:03"
    assert not process.status.ok


def test_each_function_is_warned_about_once():
    j, _ = a_job(1)
    over = monitor_root.OverMemory(412 << 20, 0, "12:00:03")
    (first,) = j.over_memory(spawned(j)[0].pid, over)
    assert "asked 100 B, used 412 MiB at 12:00:03" in first.text
    assert j.over_memory(spawned(j)[0].pid, over) == []


def test_only_a_fraction_that_was_asked_for_makes_a_process_nice():
    j, _ = a_job(1)
    assert spawned(j, asks_cpus=1)[0].nice == 12
    assert spawned(j, asks_cpus=0)[0].nice == 0


def test_resources_that_a_rank_returns_in_init_go_to_waiting_requests():
    j, (a, b) = a_job(2, cpus=1, rank_cpus=CORE // 2)
    join(j, a)
    j.fork_server("h", "ready")
    assert told(spawn(j, a, cpus=CORE // 2), process_root.Spawned) == []
    assert told(join(j, b, asks=1, cpu_units=0, memory_bytes=0), process_root.Spawned)


def test_a_request_that_waits_a_second_is_reported_once_with_the_holders():
    j, (a, b) = a_job(2, cpus=2, rank_cpus=CORE // 16)
    spawn(j, a, 1)
    assert not told(spawn(j, a, 2, cpus=CORE), process_root.Spawned)
    spawn(j, b, 1)
    assert j.deadline_s() == LATE_S and not of(Say, j.tick(LATE_S - 0.1))
    child = j.processes[j.starts[1][0]].title
    says = [say.text for say in of(Say, j.tick(LATE_S))]
    assert says == [
        "rank 0: spawn(cpus=1) waits for room: 0.88 of 2 cores free (rank 0 holds 0.06, "
        f"rank 1 holds 0.06, {child} holds 1); ask for less, or --cpus 3"
    ], "two ranks of one program are told of once"
    assert not of(Say, j.tick(LATE_S + 1)) and j.deadline_s() != LATE_S


def test_a_request_placed_in_time_is_not_reported():
    j, (a,) = a_job(cpus=1)
    spawn(j, a, 1)
    spawn(j, a, 2)
    j.exited(j.starts[1][0], ExitStatus(0), 0.5)
    assert not of(Say, j.tick(LATE_S + 1))


def test_a_request_that_waits_only_for_its_turn_says_so():
    j, (a, b) = a_job(2, cpus=2)
    spawn(j, a, 1)
    spawn(j, a, 2, cpus=2 * CORE)
    spawn(j, b, 1, cpus=CORE)
    assert j.shortages(b) == ["spawn(cpus=1) waits for room: 1 request made before it waits too"]


def test_the_report_of_a_deadlock_names_the_lack_of_room():
    j, (a,) = a_job(cpus=1)
    spawn(j, a, 1)
    spawn(j, a, 2)
    child = j.starts[1][0]
    blocked = {a: (1, ["room for a spawn at x.py:3, for 2.0 s"]), child: (1, ["recv from a at x.py:9"])}
    text = deadlock_report(j, blocked)
    assert "deadlock for lack of room" in text and "0 of 1 cores free" in text
    assert f"{child:07x} holds 1); ask for less, or --cpus 2" in text
    j.exited(child, ExitStatus(0), 0.0)
    assert "for lack of room" not in deadlock_report(j, {a: blocked[a]})


def test_a_forgotten_start_may_be_reported_as_failed_again():
    j, _ = a_job()
    assert j.start_failed(max(j.starts) + 1, "stuck", 0.0) == []
