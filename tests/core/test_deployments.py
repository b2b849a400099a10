"""Deployed programs in the job's machine: what belongs to each of them."""

import pytest

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Died, FinishJob, FinishProgram, Launch, NeedForkServer, Say
from cmpi._core.job.report import end_event, final_report
from cmpi._core.job.start_numbers import DEPLOYED
from cmpi._core.protocol import launcher_root, process_root
from cmpi._core.protocol.process_root_connections import Connect
from cmpi._core.protocol.process_root_links import Register
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import join, of, spawn, told
from tests.core.test_guests import a_child, a_guest, signals, standing

LEFT = ExitStatus(0)


def deploy(j, n=2, **settings):
    """Deploy a program; return its cmpirun's pid, and the pids of its running ranks."""
    order = {name: default for name, default in DEFAULTS.items() if name not in settings} | settings
    frame = launcher_root.LaunchJob(argv=["prog"], where=[""] * n, **order)
    owner, actions = j.deploy(frame, Interpreter("python"), "h", 0.0)
    (launch,) = of(Launch, actions)
    for rank in range(n):
        j.monitor_up(launch.start, rank, 0.0)
    return owner, launch.pids


DEFAULTS = {
    "settings": [],
    "cwd": "/",
    "output": "human",
    "colour": False,
    "one_place": False,
    "verbosity": 1,
    "output_dir": "",
    "cpu_units": 0,
    "memory_bytes": 0,
    "rank_cpu_units": 0,
    "shared_memory_bytes": 0,
    "enforce": "",
    "check_deadlock": True,
    "here": "",
    "hosts": b"",
    "deadline_s": 0.0,
    "report_mpi_waits_s": 0.0,
    "grace_s": 4.0,
    "host_timeout_s": 8.0,
    "strict": False,
}


def finished(actions):
    return [(it.owner, it.code) for it in of(FinishProgram, actions)]


def test_a_deployments_ranks_are_a_world_of_their_own_and_need_the_fork_server():
    j = standing()
    frame = launcher_root.LaunchJob(argv=["prog", "x"], where=["", ""], **DEFAULTS)
    owner, actions = j.deploy(frame, Interpreter("python"), "h", 0.0)
    (launch,) = of(Launch, actions)
    assert launch.start == DEPLOYED and launch.host == "h" and not launch.forked
    assert of(NeedForkServer, actions) == [NeedForkServer("h", Interpreter("python"))]
    for rank, pid in enumerate(launch.pids):
        j.monitor_up(launch.start, rank, 0.0)
        (welcome,) = told(join(j, pid), process_root.Welcome)
        assert (welcome.parent, welcome.rank, welcome.world) == (NO_PID, rank, launch.pids)
        assert j.processes[pid].title == f"rank {rank}"
    j.fork_server("h", "ready")
    (later,) = of(Launch, j.deploy(frame, Interpreter("python"), "h", 0.0)[1])
    assert later.forked and later.start == DEPLOYED + 1
    overdue = j.tick(1e6)
    assert owner not in [it.pid for it in of(Died, overdue)], "it never joins, and nobody waits for that"


def test_the_first_failure_of_a_program_is_its_own_exit_code():
    j = standing()
    (one, (a, b)), (other, (c, d)) = deploy(j), deploy(j)
    assert signals(j.exited(b, ExitStatus(3), 1.0)) == [(a, 15)]
    actions = j.exited(a, ExitStatus(143, 15), 1.0)
    assert finished(actions) == [(one, 3)] and not of(FinishJob, actions)
    assert "rank 1 failed: exit code 3" in final_report(j, lambda pid: b"", 1, one)
    assert final_report(j, lambda pid: b"", 1, other) == "" == final_report(j, lambda pid: b"", 1)
    j.exited(c, LEFT, 1.0)
    assert finished(j.exited(d, LEFT, 1.0)) == [(other, 0)]
    event = end_event(j, 0, 1.0, other)
    assert event["usage"]["processes"] == 2 and event["first_failure"] is None


def test_a_deployments_interrupt_and_grace_period_spare_other_deployments():
    j = standing()
    (one, (a,)), (_, (b,)) = deploy(j, 1), deploy(j, 1)
    join(j, a)
    child = a_child(j, a)
    assert sorted(signals(j.interrupt(2, 1.0, owner=one))) == sorted([(a, 2), (child, 2)])
    (refused,) = told(spawn(j, a), process_root.Refused)
    assert refused.never and "no process is started any more" in refused.reason
    (notice,) = of(Say, j.tick(2.0))
    assert notice.pid == one and "rank 0" in notice.text
    assert sorted(signals(j.tick(5.0))) == sorted([(a, 15), (child, 15), (a, 9), (child, 9)])
    j.exited(a, ExitStatus(137, 9), 5.0)
    assert finished(j.exited(child, ExitStatus(137, 9), 5.0)) == [(one, 130)]
    assert j.interruption is None and j.processes[b].status is None
    assert j.interrupt(2, 6.0, owner=one) == []


def test_a_deployment_that_does_not_end_is_given_up_and_a_second_ctrl_c_kills_it():
    j = standing()
    owner, (a,) = deploy(j, 1)
    j.interrupt(2, 1.0, owner=owner)
    assert signals(j.hurry(1.5, owner)) == [(a, 9)]
    assert finished(j.tick(10.0)) == [(owner, 130)]


def test_a_deployment_ends_with_its_cmpirun_and_with_the_job():
    j = standing()
    (one, (a,)), (other, (b,)) = deploy(j, 1), deploy(j, 1)
    assert signals(j.guest_ended(one, ExitStatus(1), 1.0)) == [(a, 15)]
    assert j.processes[a].because == "the cmpirun that deployed it has ended"
    assert finished(j.exited(a, ExitStatus(143, 15), 1.0)) == [(one, 0)]
    j.forget_program(one)
    actions = j.interrupt(15, 2.0)
    assert (b, 15) in signals(actions)
    assert finished(j.exited(b, ExitStatus(143, 15), 2.0)) == [(other, 143)]
    assert of(FinishJob, j.guest_ended(other, LEFT, 2.0)) == [FinishJob(143)]
    assert j.deploy(None, Interpreter("python"), "h", 3.0) == (None, [])


def test_a_job_with_a_program_waits_for_what_was_deployed_into_it():
    from tests.core.jobs import a_job

    j, (rank,) = a_job()
    owner, (a,) = deploy(j, 1)
    assert not of(FinishJob, j.exited(rank, LEFT, 1.0))
    assert not of(FinishJob, j.exited(a, ExitStatus(9), 1.0))
    assert of(FinishJob, j.guest_ended(owner, LEFT, 1.0)) == [FinishJob(0)]


@pytest.mark.parametrize(
    "act, alone",
    [
        (lambda j, a, b, mate: j.from_rank(a, Connect(mate), 0.0), True),
        (lambda j, a, b, mate: j.from_rank(a, process_root.Watch(mate), 0.0), True),
        (lambda j, a, b, mate: j.from_rank(a, Connect(b), 0.0), False),
        (lambda j, a, b, mate: j.from_rank(b, Connect(a), 0.0), False),
        (lambda j, a, b, mate: j.from_rank(a, process_root.Watch(b), 0.0), False),
        (lambda j, a, b, mate: j.from_rank(a, Register(1, "name", a), 0.0), False),
    ],
)
def test_a_program_counts_as_alone_until_another_can_know_of_it(act, alone):
    j = standing()
    (owner, (a, mate)), (guest, _) = deploy(j), a_guest(j)
    join(j, a)
    join(j, mate)
    act(j, a, guest, mate)
    assert j.programs[owner].alone is alone
