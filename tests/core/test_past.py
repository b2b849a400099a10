"""What a job remembers of processes that have ended: it is bounded, and always true."""

import gc

from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi._core.job import past
from cmpi._core.job.job_actions import FinishJob, Forget
from cmpi._core.job.past import NEVER, UNKNOWN, Past
from cmpi._core.job.report import end_event, final_report
from cmpi._core.output.output import Formatter
from cmpi._core.output.speaker import Speaker
from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_connections import Connect
from cmpi.identifiers import NO_PID, ExitStatus
from tests.core.jobs import a_job, join, of, told
from tests.core.test_deployments import deploy
from tests.core.test_guests import a_child, a_guest, standing

OK, FAILED = ExitStatus(0), ExitStatus(3)


def short_lives(j, parent, n, status=OK):
    """Let this many processes of `parent` start and end; return their pids."""
    pids = []
    for _ in range(n):
        child = a_child(j, parent)
        j.exited(child, status, 0.0)
        j.monitor_left(child)
        pids.append(child)
    return pids


def watch(j, pid, other):
    """What a process is told when it begins to watch another one."""
    (ended,) = told(j.from_rank(pid, process_root.Watch(other), 0.0), process_root.Ended)
    return ended


def reachable(thing):
    """How many objects are reachable from this one."""
    seen, todo = {id(thing)}, [thing]
    while todo:
        for each in gc.get_referents(todo.pop()):
            if id(each) not in seen and not isinstance(each, type) and not callable(each):
                seen.add(id(each))
                todo.append(each)
    return len(seen)


def test_the_machine_does_not_grow_with_the_processes_that_it_has_had():
    j, (rank,) = a_job(standing=True)
    join(j, rank)

    def one_round(n):
        short_lives(j, rank, n)
        for _ in range(n):
            guest, _ = a_guest(j)
            short_lives(j, guest, 1, FAILED)
            j.guest_ended(guest, OK, 0.0)
        for _ in range(n):
            owner, ranks = deploy(j, 2)
            for pid in ranks:
                j.exited(pid, OK, 0.0)
                j.monitor_left(pid)
            j.guest_ended(owner, OK, 0.0)
            j.forget_program(owner)

    one_round(past.MOST_RECORDS // 2)
    before = reachable(j)
    one_round(past.MOST_RECORDS // 2)
    # The statuses of failed processes are kept longer: a number, and a status with an attribute or two.
    assert reachable(j) - before <= past.MOST_RECORDS // 2 * 4
    assert len(j.processes) <= past.MOST_RECORDS + 3 and len(j.starts) <= len(j.processes) + 1


def test_requests_about_a_forgotten_process_get_its_exit_status():
    j, (rank,) = a_job()
    join(j, rank)
    (first,), failed = short_lives(j, rank, 1), a_child(j, rank)
    j.from_rank(rank, process_root.Kill(failed, 15), 0.0)
    j.exited(failed, ExitStatus(143, 15), 0.0)
    j.monitor_left(failed)
    short_lives(j, rank, past.MOST_RECORDS)
    assert first not in j.processes and failed not in j.processes
    assert (watch(j, rank, first).code, watch(j, rank, first).signal) == (0, 0)
    ended = watch(j, rank, failed)
    assert (ended.code, ended.signal, ended.requested) == (143, 15, True)
    assert watch(j, rank, first ^ 1).verdict == NEVER.verdict
    assert j.has_ended(first) and not j.has_ended(first ^ 1) and not j.has_ended(rank)
    for frame in (process_root.Kill(first, 9), Connect(first), process_root.LookedAt(first, True)):
        assert j.from_rank(rank, frame, 0.0) == []


def test_unreported_failures_are_kept_and_totals_include_forgotten_processes():
    j, (rank,) = a_job()
    join(j, rank)
    (failed,) = short_lives(j, rank, 1, FAILED)
    seen = short_lives(j, rank, 1, ExitStatus(4))[0]
    j.from_rank(rank, process_root.LookedAt(seen, True), 0.0)
    n = 2 * past.MOST_RECORDS
    short_lives(j, rank, n)
    assert failed in j.processes and seen not in j.processes
    assert of(FinishJob, j.exited(rank, OK, 1.0)) == [FinishJob(3)]
    assert "failed: exit code 3" in final_report(j, lambda pid: b"", 1)
    assert end_event(j, 3, 1.0)["usage"]["processes"] == n + 3


def test_failures_of_a_guest_are_kept_until_it_has_gone():
    j = standing()
    guest, _ = a_guest(j)
    (failed,) = short_lives(j, guest, 1, FAILED)
    other, _ = a_guest(j)
    short_lives(j, other, past.MOST_RECORDS + 10)
    assert failed in j.processes
    j.guest_ended(guest, OK, 1.0)
    short_lives(j, other, past.MOST_RECORDS + 10)
    assert failed not in j.processes and not j.programs[NO_PID].failures.of(guest)


def test_a_group_is_forgotten_together_and_not_before_all_of_it_is_over():
    j, (rank,) = a_job(cpus=8)
    join(j, rank)
    from tests.core.jobs import spawn

    (spawned,) = told(spawn(j, rank, n=2), process_root.Spawned)
    j.fork_server("h", "ready")
    one, two = spawned.pids
    start = j.processes[one].start
    for number in (0, 1):
        j.monitor_up(start, number, 0.0)
    j.exited(one, OK, 0.0)
    j.monitor_left(one)
    short_lives(j, rank, past.MOST_RECORDS + 10)
    assert one in j.processes
    j.exited(two, OK, 0.0)
    j.monitor_left(two)
    gone = [
        pid for _ in range(past.MOST_RECORDS + 2) for a in of(Forget, one_more(j, rank)) for pid in a.pids
    ]
    assert {one, two} <= set(gone) and start not in j.starts


def one_more(j, rank):
    child = a_child(j, rank)
    return [*j.exited(child, OK, 0.0), *j.monitor_left(child)]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**28),
    st.lists(st.sampled_from([OK, FAILED, ExitStatus(143, 15, "", True)]), max_size=60),
)
def test_a_forgotten_status_is_exact_or_unknown_and_pids_are_never_reused(seed, statuses):
    memory, most = Past(seed), past.MOST_STATUSES
    past.MOST_STATUSES = 5
    try:
        pids = [memory.new_pid() for _ in statuses]
        assert len(set(pids)) == len(pids) and all(0 <= pid < 1 << 28 for pid in pids)
        for pid, status in zip(pids, statuses):
            memory.forget(pid, status)
        failed = [status for status in statuses if status != OK]
        for pid, status in zip(pids, statuses):
            assert memory.status(pid) in (status, UNKNOWN)
        assert [memory.status(pid) for pid, status in zip(pids, statuses) if status != OK][-5:] == failed[
            -5:
        ]
        assert memory.status((memory.new_pid() + 1) & ((1 << 28) - 1)) in (NEVER, OK, UNKNOWN, *statuses)
        assert len(memory._statuses) <= 5
    finally:
        past.MOST_STATUSES = most


def test_the_printer_forgets_with_the_job():
    formatter = Formatter("human")
    for pid in range(3):
        formatter.born(Speaker(pid, None, "h", None, "p", f"p · {pid}", "p"), 0.0)
        formatter.output(pid, 2, b"line\nno end", 0.0)
        formatter.died(pid, FAILED, {}, 0.0)
    before = reachable(formatter)
    for pid in range(3):
        formatter.forget(pid)
    assert reachable(formatter) < before and formatter.tail(0) == b""
    assert formatter.tick(100.0), "what was said of them is still said"
