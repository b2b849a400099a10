import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.job.mpi_waits import AT_END, LOOKS, RARE, MpiCall, MpiWaits, mpi_call
from cmpi._core.protocol.monitor_root import RankStacks

AFTER_S = 60.0
STEP_S = AFTER_S / LOOKS


def stack(source, line=12):
    return f"""Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
    waiter.acquire()

Current thread 0x00007f02 (most recent call first):
  File "/home/job.py", line {line} in main
    {source}
  File "/home/job.py", line 99 in <module>
    main()
"""


RECV = RankStacks(True, stack("comm.recv()"), went_on=False)


@pytest.mark.parametrize(
    "source, name",
    [
        ("x = comm.recv(source=0)", "MPI_Recv"),
        ("comm.Allreduce(a, b, op=max(1, 2))", "MPI_Allreduce"),
        ("print(comm.allreduce(1))", "MPI_Allreduce"),
        ("MPI.COMM_WORLD.Barrier()", "MPI_Barrier"),
        ("MPI.Request.Waitall(requests)", "MPI_Waitall"),
        ("half = comm.Split(color)", "MPI_Comm_split"),
        ("x = np.dot(a, b)", None),
        ("recv(1)", None),
        ("", None),
    ],
)
def test_a_call_is_known_by_the_innermost_line_of_the_main_thread(source, name):
    assert mpi_call(stack(source)) == (MpiCall(name, "/home/job.py:12") if name else None)


@given(st.text() | st.text("Current thread (most recent call first):\n .(", max_size=200))
def test_parsing_any_text_gives_a_call_or_none(text):
    assert mpi_call(text) is None or isinstance(mpi_call(text), MpiCall)


def reports(answer, seconds=600, waits=None):
    """The reports on ranks 1 and 2, by the second in which they came; `answer` gives what a rank is doing
    at a time."""
    waits, found = waits or MpiWaits(AFTER_S), []
    for now_s in map(float, range(seconds)):
        for pid in waits.tick([1, 2], now_s):
            report = waits.look(pid, answer(pid, now_s), now_s)
            if report:
                found.append((now_s, report))
    return found


def test_ranks_that_stay_in_the_same_calls_are_named_once():
    words = "waits in MPI_Recv at /home/job.py:12 for 60 s"
    assert reports(lambda pid, _: RECV) == [(STEP_S + AFTER_S, {1: words, 2: words})]


def test_a_rank_that_has_ended_its_program_waits_in_finalize():
    end = RankStacks(True, "", went_on=False, ending=True)
    ((_, report),) = reports(lambda pid, _: end if pid == 1 else RECV)
    assert report[1] == f"waits in {AT_END.name} at its end for 60 s"


@pytest.mark.parametrize(
    "other",
    [
        lambda now_s: RankStacks(True, stack("work()")),
        lambda now_s: RankStacks(True, ""),  # asleep, or not a Python program
        lambda now_s: RankStacks(True, stack("comm.recv()", line=int(now_s))),
        lambda now_s: RankStacks(True, stack("comm.recv()"), went_on=True),  # a loop of short calls
    ],
)
def test_a_rank_that_computes_sleeps_or_progresses_prevents_the_report(other):
    assert reports(lambda pid, now_s: RECV if pid == 1 else other(now_s)) == []


def test_any_output_restarts_the_measurement():
    waits = MpiWaits(AFTER_S)
    assert reports(lambda pid, _: RECV, int(AFTER_S), waits) == []
    waits.moved()
    assert reports(lambda pid, _: RECV, int(AFTER_S), waits) == []


def test_ranks_that_do_something_else_are_looked_at_rarely():
    looks = []
    reports(lambda pid, now_s: looks.append(now_s) or RankStacks(True, ""), 4000)
    assert len(looks) // 2 < 15 and looks[-1] - looks[-3] == RARE * AFTER_S


def test_zero_disables_the_check_and_nothing_is_due():
    waits = MpiWaits(0.0)
    assert reports(lambda pid, _: RECV, 600, waits) == [] and waits.deadline_s() is None


@given(st.lists(st.sampled_from(["moved", "mpi", "work", "none"]), max_size=60))
def test_a_report_comes_only_after_so_long_in_mpi_without_a_word(events):
    waits, now_s, since_s = MpiWaits(4.0), 0.0, None
    for event in events:
        now_s += 1.0
        if event == "moved":
            waits.moved()
            since_s = None
        ranks = [] if event == "none" else [1]
        for pid in waits.tick(ranks, now_s):
            found = RECV if event == "mpi" else RankStacks(True, stack("work()"))
            since_s = (since_s or now_s) if event == "mpi" else None
            if waits.look(pid, found, now_s):
                assert since_s is not None and now_s - since_s >= 4.0
                assert waits.deadline_s() is None
