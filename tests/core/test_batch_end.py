"""In a Slurm job, one SIGTERM is one order to end, whichever way the root learns of it first."""

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.job.batch_end import SLURM_WITHIN_S, BatchEnd

SIGINT, SIGTERM = 2, 15


def test_a_signal_to_cmpirun_counts_at_once_outside_a_batch_job():
    end = BatchEnd(in_batch_job=False)
    assert end.by_cmpirun(SIGTERM, 0.0, interrupted=False) and end.by_cmpirun(
        SIGTERM, 0.1, interrupted=True
    )
    assert end.deadline_s() is None


def test_in_a_batch_job_sigterm_to_cmpirun_counts_after_a_moment_and_ctrl_c_at_once():
    end = BatchEnd(in_batch_job=True)
    assert not end.by_cmpirun(SIGTERM, 1.0, interrupted=False)
    assert end.deadline_s() == 1.0 + SLURM_WITHIN_S
    assert not end.tick(1.0) and end.tick(1.0 + SLURM_WITHIN_S) and not end.tick(9.0)
    assert BatchEnd(in_batch_job=True).by_cmpirun(SIGINT, 0.0, interrupted=False)


def test_a_second_sigterm_within_that_moment_counts_at_once():
    end = BatchEnd(in_batch_job=True)
    assert not end.by_cmpirun(SIGTERM, 1.0, interrupted=False)
    assert end.by_cmpirun(SIGTERM, 1.1, interrupted=False) and end.deadline_s() is None


@given(st.permutations(["cmpirun", "monitor", "monitor"]), st.booleans())
def test_slurms_sigterm_counts_once_in_any_order_and_a_later_one_ends_the_grace(events, hurry):
    end, orders = BatchEnd(in_batch_job=True), 0
    for event in events:
        if event == "cmpirun":
            assert not end.by_cmpirun(SIGTERM, 0.0, interrupted=orders > 0)
        else:
            orders += end.by_slurm(interrupted=orders > 0)
    assert orders == 1 and end.deadline_s() is None
    if hurry:
        assert end.by_cmpirun(SIGTERM, 0.2, interrupted=True)
