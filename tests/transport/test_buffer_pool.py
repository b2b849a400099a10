import gc

import numpy as np
import pytest

from cmpi._transport import buffer_pool

SIZE = 1 << 20


@pytest.fixture(autouse=True)
def nothing_is_kept():
    buffer_pool._kept.clear()
    yield
    buffer_pool._kept.clear()


def address(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data


def test_unreferenced_memory_is_reused():
    first = buffer_pool.blank(SIZE)
    where = address(first)
    del first
    assert address(buffer_pool.blank(SIZE)) == where


def test_memory_with_a_live_view_is_not_reused():
    buffer = buffer_pool.blank(SIZE)
    array = np.frombuffer(buffer, np.float64)[3:7]
    array[:] = 5
    where = address(buffer)
    del buffer
    others = [buffer_pool.blank(SIZE) for _ in range(8)]
    assert where not in map(address, others)
    for other in others:
        memoryview(other).cast("B")[:] = b"x" * SIZE
    assert (array == 5).all()
    del array
    gc.collect()
    assert address(buffer_pool.blank(SIZE)) == where


def test_a_pool_keeps_no_more_memory_than_one_window():
    for size in (SIZE, 2 * SIZE, 8 * SIZE):
        buffers = [buffer_pool.blank(size) for _ in range(40)]
        del buffers
    kept = sum(size * len(blocks) for size, blocks in buffer_pool._kept.items())
    assert 0 < kept <= buffer_pool.MOST_BYTES
    del buffer_pool._kept[max(buffer_pool._kept)][:]
    large = buffer_pool.blank(buffer_pool.MOST_BYTES + 1)
    small = buffer_pool.blank(100)
    assert (len(large), len(small)) == (buffer_pool.MOST_BYTES + 1, 100)
    del large, small
    assert not {100, buffer_pool.MOST_BYTES + 1} & buffer_pool._kept.keys()
