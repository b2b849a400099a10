"""Resources in the job's machine: who holds them, and what users are told about requests that wait."""

import pytest

from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import Order, Say
from cmpi._core.job.report import deadlock_report
from cmpi._core.limits import KILL, NONE, WARN
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.scheduling.host_room import Host
from cmpi._core.scheduling.spawn_queue import LATE_S
from cmpi.identifiers import ExitStatus
from tests.core.frames import spawn_frame
from tests.core.jobs import CORE, GIB, a_job, join, of, spawn, told


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
    assert spawned(j, asks_memory=1)[1] == monitor_root.LimitResources(100, asked, 100)
    assert spawned(j, asks_memory=0)[1] == monitor_root.LimitResources(100, NONE, 100)
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
