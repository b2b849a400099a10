"""The windows of all channels of a process stay within a share of the memory that it asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.channel.channel import (
    UNBOUNDED_BYTES,
    WINDOW_BYTES,
    AwaitRoom,
    Outgoing,
    RequestCredit,
    Widened,
)
from cmpi._core.channel.windows import FIRST_BYTES, SHARE, Windows, first

MIB = 1 << 20
WISHES = st.sampled_from([1, 1000, FIRST_BYTES, 5 * MIB, WINDOW_BYTES, 1 << 40, UNBOUNDED_BYTES])
STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "widen", "close"]), WISHES, st.integers(0, 30)), max_size=60
)


@given(st.sampled_from([0, 1, 50 * MIB, 600 * MIB, 1 << 40]), STEPS)
def test_all_windows_together_stay_within_their_share_of_memory(promised_bytes, steps):
    windows, opened = Windows(promised_bytes), []
    for what, wish, number in steps:
        if what == "open":
            opened.append([windows.open(wish), wish])
            assert opened[-1][0] == first(wish, promised_bytes) <= wish
        elif opened:
            one = opened[number % len(opened)]
            if what == "widen":
                before, one[0] = one[0], windows.widen(*one)
                assert before <= one[0] <= one[1]
                assert before == one[0] or windows.open_bytes <= promised_bytes // SHARE
            else:
                windows.close(one[0])
                opened.remove(one)
        counted = [window for window, wish in opened if wish != UNBOUNDED_BYTES]
        assert windows.open_bytes == sum(counted)
        if promised_bytes:  # only first windows go beyond the share
            widened = sum(window - first(wish, promised_bytes) for window, wish in opened)
            assert widened <= promised_bytes // SHARE
        else:
            assert all(window == wish for window, wish in opened)


@pytest.mark.parametrize("n", [1, 20, 100])
def test_twenty_channels_to_a_receiver_of_600_mib_each_get_a_window(n):
    windows = Windows(600 * MIB)
    sizes = [windows.open(WINDOW_BYTES) for _ in range(n)]
    sizes = [windows.widen(size, WINDOW_BYTES) for size in sizes]
    assert sum(sizes) <= 150 * MIB and min(sizes) >= FIRST_BYTES
    assert sizes[0] == {1: WINDOW_BYTES, 20: WINDOW_BYTES, 100: 26 * MIB}[n]


def test_a_sender_that_waits_asks_and_goes_on_with_the_wider_window():
    sender = Outgoing()
    sender.narrow(FIRST_BYTES)
    assert sender.admit(FIRST_BYTES) and not sender.admit(1)
    assert sender.handle(AwaitRoom(1)) == [RequestCredit()]
    assert sender.handle(Widened(2 * MIB)) == [] and sender.admit(MIB)
    sender.narrow(FIRST_BYTES)  # what the root says later changes nothing
    assert sender.window_bytes == 2 * MIB
