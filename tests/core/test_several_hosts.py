"""The job on several hosts: which host starts which process, connections between hosts, a lost host."""

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import FinishJob, Launch, LaunchWorld, NeedForkServer, Order, Say
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_connections import (
    Abandon,
    Connect,
    ConnectionFailed,
    ConnectionUp,
    Dial,
    ListenFor,
    Listening,
)
from cmpi._core.scheduling.host_room import Host
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import CORE, GIB, join, of, spawn, told


def a_job(where=("a", "b"), cpus=1, rank_cpus=0):
    hosts = [
        Host("a", cpus * CORE, GIB, [0], "10.0.0.1", "/py/a"),
        Host("b", cpus * CORE, GIB, [0], "10.0.0.2", "/py/b"),
    ]
    j = JobMachine(hosts, secret=b"s")
    j.launch(["prog"], list(where), rank_cpus)
    for rank in range(len(where)):
        j.monitor_up(0, rank, 0.0)
    return j, j.starts[0]


def a_job_with_a_process_on_b():
    """A job with a rank on host a, which has spawned a process on host b; its monitor is up."""
    j, (a,) = a_job(["a"])
    join(j, a)
    j.fork_server("a", "ready")
    spawn(j, a)
    j.fork_server("b", "ready")
    (b,) = j.starts[1]
    j.monitor_up(1, 0, 0.0)
    return j, a, b


def test_ranks_on_several_hosts_are_started_by_the_launcher_and_those_on_one_are_spawned():
    j = JobMachine([Host("a", CORE, GIB), Host("b", CORE, GIB)])
    (world,) = of(LaunchWorld, j.launch(["prog"], ["a", "b"]))
    assert (world.start, world.hosts) == (0, ["a", "b"])
    j = JobMachine([Host("a", CORE, GIB), Host("b", CORE, GIB)])
    (launch,) = of(Launch, j.launch(["prog"], ["b", "b"]))
    assert (launch.host, len(launch.pids)) == ("b", 2)


def test_each_host_has_a_fork_server_when_the_first_process_is_placed_there():
    j, (a,) = a_job(["a"])
    assert of(NeedForkServer, join(j, a)) == [NeedForkServer("a", Interpreter("python"))]
    j.fork_server("a", "ready")
    actions = spawn(j, a, 1)  # the emptiest host is b
    assert of(NeedForkServer, actions) == [NeedForkServer("b", Interpreter("/py/b"))] and not of(
        Launch, actions
    )
    (launch,) = of(Launch, j.fork_server("b", "ready"))
    assert launch.host == "b" and launch.forked


def linked(j, a, b):
    """The orders that the two processes get to connect."""
    return j.from_rank(a, Connect(b), 0.0)


def test_a_connection_between_hosts_uses_tcp_and_a_key_that_only_both_have():
    j, (a, b) = a_job()
    join(j, a)
    join(j, b)
    (listen,) = told(linked(j, a, b), ListenFor)
    assert (listen.peer, listen.address) == (b, "10.0.0.1") and len(listen.key) == 32
    (dial,) = told(j.from_rank(a, Listening(b, 7), 0.0), Dial)
    assert dial == Dial(a, "10.0.0.1", 7, listen.key)
    j.from_rank(a, ConnectionUp(b), 0.0)
    assert not j.from_rank(b, ConnectionUp(a), 0.0)
    j.connections.validate()


def test_a_failed_connection_between_hosts_is_retried_after_both_gave_up_and_reported_once():
    j, (a, b) = a_job()
    join(j, a)
    join(j, b)
    (first,) = told(linked(j, a, b), ListenFor)
    (say,) = of(Say, j.from_rank(b, ConnectionFailed(a), 0.0))
    assert "a (10.0.0.1) and b (10.0.0.2)" in say.text
    assert j.from_rank(a, ConnectionFailed(b), 0.0) == []
    (again,) = told(j.tick(1.0), ListenFor)
    assert again.key != first.key
    j.connections.validate()


def test_a_listener_is_told_to_abandon_the_connection_with_a_dead_peer():
    j, a, b = a_job_with_a_process_on_b()
    join(j, b)
    linked(j, a, b)
    j.exited(b, ExitStatus(1), 1.0)
    assert told(j.tick(2.0), Abandon) == [Abandon(b)]
    assert not told(j.from_rank(a, Listening(b, 7), 2.0), Dial)


def test_losing_a_host_ends_only_its_processes():
    j, a, b = a_job_with_a_process_on_b()
    j.from_rank(a, process_root.Watch(b), 0.0)
    actions = j.host_lost("b", "no answer for 8 s", 1.0)
    (ended,) = told(actions, process_root.Ended)
    assert (ended.pid, ended.code, ended.signal) == (b, 137, 9)
    assert ended.verdict == "host lost: b: no answer for 8 s"
    assert of(Say, actions) == [Say("host b is lost: no answer for 8 s")]
    assert of(Order, actions) == [Order(b, monitor_root.Signal(9, 0.0))]
    assert j.processes[a].status is None and not j.host_lost("b", "again", 2.0)
    assert j.requests.capacity().total.cpus == 1


def test_frames_from_processes_of_a_lost_host_are_ignored():
    j, a, b = a_job_with_a_process_on_b()
    join(j, b)
    j.host_lost("b", "it was taken out of the job", 1.0)
    for frame in (ConnectionUp(a), Connect(a), process_root.Watch(a)):
        assert j.from_rank(b, frame, 1.0) == []
    assert not told(spawn(j, b), process_root.Spawned)


def test_a_request_that_only_the_lost_host_could_satisfy_is_refused():
    j = JobMachine([Host("a", CORE, GIB), Host("b", 4 * CORE, GIB)])
    j.launch(["prog"], ["a"])
    j.monitor_up(0, 0, 0.0)
    (a,) = j.starts[0]
    join(j, a)
    spawn(j, a, 1, cpus=4 * CORE)
    assert not told(spawn(j, a, 2, cpus=3 * CORE), process_root.Refused)
    (refused,) = told(j.host_lost("b", "off", 1.0), process_root.Refused)
    assert refused.request == 2 and refused.never and "the largest, a" in refused.reason


def test_the_loss_of_a_host_ends_its_world_and_is_the_first_failure():
    j, (a, b) = a_job()
    actions = j.host_lost("b", "off", 1.0)
    assert of(Order, actions)[-1] == Order(a, monitor_root.Signal(15, 0.0))
    assert of(FinishJob, j.exited(a, ExitStatus(143, 15), 2.0)) == [FinishJob(137)]
    assert j.programs[NO_PID].failures.first().pid == b


def test_a_spawn_goes_to_the_named_host_or_near_the_named_process():
    j, (a,) = a_job(["a"], cpus=4)
    join(j, a)
    j.fork_server("a", "ready")
    j.fork_server("b", "ready")
    (launch,) = of(Launch, spawn(j, a, 1, host="b"))
    assert launch.host == "b"
    (launch,) = of(Launch, spawn(j, a, 2, near=launch.pids[0]))
    assert launch.host == "b"
    (refused,) = told(spawn(j, a, 3, host="c"), process_root.Refused)
    assert refused.reason == "asked for host c; the hosts of this job are a, b"
    (refused,) = told(spawn(j, a, 3, cpus=9 * CORE, host="b"), process_root.Refused)
    assert refused.never and "on b, which has 4 cpus" in refused.reason


def test_a_group_is_one_start_on_one_host_or_one_world_over_several():
    j, (a,) = a_job(["a"], cpus=4)
    join(j, a)
    j.fork_server("a", "ready")
    (reply,) = told(spawn(j, a, 1, n=3, host="b"), process_root.Spawned)
    (launch,) = of(Launch, j.fork_server("b", "ready"))
    assert launch.host == "b" and launch.forked and launch.pids == reply.pids == j.starts[1]
    assert [j.processes[pid].rank for pid in reply.pids] == [0, 1, 2]
    for rank in range(3):
        j.monitor_up(1, rank, 0.0)
    (welcome,) = told(join(j, reply.pids[1]), process_root.Welcome)
    assert welcome.world == reply.pids and welcome.parent == a
    actions = j.exited(reply.pids[0], ExitStatus(1), 1.0)
    assert {order.pid for order in of(Order, actions)} == set(reply.pids[1:]), "they fall together"
    for pid in reply.pids[1:]:
        j.exited(pid, ExitStatus(143, 15), 1.0)
    actions = spawn(j, a, 2, n=6)
    (world,) = of(LaunchWorld, actions)
    (reply,) = told(actions, process_root.Spawned)
    assert sorted(world.hosts) == ["a"] * 2 + ["b"] * 4 or set(world.hosts) == {"a", "b"}
    assert [j.processes[pid].host for pid in reply.pids] == world.hosts


def test_a_returned_host_gets_waiting_processes_and_can_be_lost_again():
    j, (a,) = a_job(["a"], rank_cpus=CORE)
    join(j, a)
    j.fork_server("a", "ready")
    j.host_lost("b", "off", 1.0)
    (refused,) = told(spawn(j, a, 1, cpus=CORE, host="b"), process_root.Refused)
    assert refused.never
    spawn(j, a, 2, cpus=CORE)  # waits: a has a rank
    actions = j.host_back(Host("b", CORE, GIB, [0], "10.0.0.2", "/py/b"))
    assert of(Say, actions) == [Say("host b is back")] and of(NeedForkServer, actions)[0].host == "b"
    (launch,) = of(Launch, j.fork_server("b", "ready"))
    assert launch.host == "b" and j.host_lost("b", "off again", 2.0)
