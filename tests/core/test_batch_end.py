"""In a Slurm job, one SIGTERM is one order to end, whichever way the root learns of it first."""

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.job.batch_end import SLURM_WITHIN_S, BatchEnd

SIGINT, SIGTERM = 2, 15


def test_elsewhere_what_cmpirun_says_counts_at_once():
    end = BatchEnd(in_batch_job=False)
    assert end.by_cmpirun(SIGTERM, 0.0, interrupted=False) and end.by_cmpirun(
        SIGTERM, 0.1, interrupted=True
    )
    assert end.deadline_s() is None


def test_a_sigterm_to_cmpirun_alone_counts_after_a_moment_and_ctrl_c_at_once():
    end = BatchEnd(in_batch_job=True)
    assert not end.by_cmpirun(SIGTERM, 1.0, interrupted=False)
    assert end.deadline_s() == 1.0 + SLURM_WITHIN_S
    assert not end.tick(1.0) and end.tick(1.0 + SLURM_WITHIN_S) and not end.tick(9.0)
    assert BatchEnd(in_batch_job=True).by_cmpirun(SIGINT, 0.0, interrupted=False)


def test_a_second_one_in_that_moment_counts():
    end = BatchEnd(in_batch_job=True)
    assert not end.by_cmpirun(SIGTERM, 1.0, interrupted=False)
    assert end.by_cmpirun(SIGTERM, 1.1, interrupted=False) and end.deadline_s() is None


@given(st.permutations(["cmpirun", "monitor", "monitor"]), st.booleans())
def test_slurms_is_one_order_in_any_order_and_the_next_hurries(events, hurry):
    end, orders = BatchEnd(in_batch_job=True), 0
    for event in events:
        if event == "cmpirun":
            assert not end.by_cmpirun(SIGTERM, 0.0, interrupted=orders > 0)
        else:
            orders += end.by_slurm(interrupted=orders > 0)
    assert orders == 1 and end.deadline_s() is None
    if hurry:
        assert end.by_cmpirun(SIGTERM, 0.2, interrupted=True)
