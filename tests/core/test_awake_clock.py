"""The clock that does not count the time in which a process is stopped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.awake_clock import STEP_S, AwakeClock


@given(st.lists(st.floats(0, STEP_S)))
def test_a_loop_that_reads_it_in_time_sees_the_real_time(gaps):
    clock, real_s = AwakeClock(100.0), 100.0
    for gap in gaps:
        real_s += gap
        assert clock.now_s(real_s) == pytest.approx(real_s)


@given(st.lists(st.floats(0, 1e6)))
def test_it_never_runs_backwards_nor_counts_more_than_a_step_between_two_readings(gaps):
    clock, real_s, last_s = AwakeClock(0.0), 0.0, 0.0
    for gap in gaps:
        real_s += gap
        now_s = clock.now_s(real_s)
        assert last_s <= now_s <= last_s + min(gap, STEP_S) + 1e-6
        assert clock.now_s(real_s) == now_s
        last_s = now_s


def test_an_hour_in_which_the_process_is_stopped_counts_as_one_step():
    clock = AwakeClock(0.0)
    clock.now_s(3600.0)
    clock.now_s(3601.0)
    assert clock.now_s(3601.5) == STEP_S + 1.5


def test_a_thread_that_was_overtaken_while_it_read_does_not_turn_the_clock_back():
    clock = AwakeClock(0.0)
    assert clock.now_s(2.0) == 2.0
    assert clock.now_s(1.0) == 2.0
    assert clock.now_s(3.0) == 3.0
