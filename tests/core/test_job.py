"""The job's machine: how processes start, join, spawn and watch each other."""

from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import Born, Launch, NeedForkServer, Tell
from cmpi._core.protocol import process_root
from cmpi._core.scheduling.host_room import Host
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import CORE, GIB, a_job, a_job_that_spawns, join, of, spawn, told


def test_ranks_are_one_start_and_have_distinct_pids():
    j = JobMachine([Host("h", 4 * CORE, GIB)], seed=5)
    actions = j.launch(["prog", "x"], ["h"] * 3)
    (launch,) = of(Launch, actions)
    assert len(set(launch.pids)) == 3 and not launch.forked
    assert [b.pid for b in of(Born, actions)] == launch.pids
    assert all(pid < 1 << 28 for pid in launch.pids)


def test_ranks_that_cmpirun_has_started_are_shown_and_not_started_again():
    j = JobMachine([Host("h", 4 * CORE, GIB)], seed=5)
    assert [type(action) for action in j.launch(["prog"], ["h"] * 2, started=True)] == [Born, Born]
    assert j.monitor_up(0, 1, 0.0)[0] == j.starts[0][1]


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
    j, a, (spawned,) = a_job_that_spawns()
    j.monitor_up(1, 0, 0.0)
    actions = join(j, spawned)
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
