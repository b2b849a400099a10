from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.pool import chunks
from cmpi._core.pool.chunks import ChunkSizer


def test_sizes_begin_with_one_and_grow_to_what_takes_the_aimed_time():
    sizer = ChunkSizer(2)
    sizes = []
    for _ in range(6):
        size = sizer.next_size()
        sizes.append(size)
        sizer.measured(size, size * 1e-4)
    assert sizes[0] == 1 and sizes[1] == chunks.GROWTH
    assert sizes[-1] == round(chunks.TARGET_S / 1e-4)


def test_long_running_items_go_one_by_one():
    sizer = ChunkSizer(2, total=100)
    sizer.measured(1, 3.0)
    assert sizer.next_size() == 1


def test_items_with_large_results_go_in_small_chunks():
    sizer = ChunkSizer(2)
    for _ in range(10):
        sizer.measured(1, 1e-4, chunks.TARGET_BYTES // 4)
    assert sizer.next_size() == 4
    sizer.measured(4, 4e-4, 4 * (8 << 20))
    assert sizer.next_size() == 1


def test_the_last_items_are_shared_out_evenly():
    sizer = ChunkSizer(2, total=400)
    for _ in range(20):
        sizer.measured(1000, 0.1)
    assert sizer.next_size() == 100
    sizer.taken(376)
    assert sizer.next_size() == 6


def test_the_last_chunks_are_no_shorter_than_is_worth_a_message():
    sizer = ChunkSizer(2, total=400)
    for _ in range(20):
        sizer.measured(1000, 1000 * chunks.LEAST_S / 50)
    sizer.taken(390)
    assert sizer.next_size() == 50


def test_a_size_that_was_asked_for_is_kept():
    assert ChunkSizer(2, total=10, fixed=7).next_size() == 7


@given(st.integers(1, 8), st.integers(0, 5000), st.lists(st.floats(0, 0.1), max_size=30))
def test_all_items_are_taken_in_chunks_of_one_or_more(workers, total, item_s):
    sizer, left, n = ChunkSizer(workers, total), total, 0
    while left:
        size = sizer.next_size()
        assert 1 <= size <= chunks.MAX_ITEMS
        size = min(size, left)
        sizer.taken(size)
        left -= size
        if n < len(item_s):
            sizer.measured(size, size * item_s[n])
        n += 1
