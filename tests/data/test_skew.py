"""Nine of ten rows have one key: no task has more than twice the work of the even case."""

import pytest

from cmpi import data
from cmpi.data.execution import joins
from cmpi.data.execution.joins import pairs_of_partitions
from cmpi.data.execution.spill import RowBlock

here = data.Serial()
N = 30_000


def rows(heavy):
    """Pairs with 1,000 keys; nine of ten rows have the first one, or all have as many."""
    return [(0 if heavy and i % 10 else i % 1000, "x" * 50) for i in range(N)]


@pytest.fixture
def results(monkeypatch):
    """The results of all tasks, by the order in which they ran."""
    found = []

    class Kept(data.Serial):
        def submit(self, fn, argument):
            future = super().submit(fn, argument)
            found.append((argument, future.result()[0]))
            return future

    return Kept(), found


def sizes_of_reads(found):
    """How many bytes of blocks each task of the last stage has read."""
    splits = [argument[0][2] for argument, _ in found]
    return [
        sum(block.nbytes for part in split.partitions for block in _blocks(part))
        for split in splits
        if hasattr(split, "partitions")
    ]


def _blocks(part):
    return part if isinstance(part[0], RowBlock) else part[0]


def test_no_task_reads_more_than_twice_the_rows_if_one_key_is_heavy(results):
    pool, found = results
    largest = {}
    for heavy in (False, True):
        found.clear()
        stream = data.of(rows(heavy), pool=pool).group_by(0, into=data.count())
        assert stream.map(lambda pair: pair[1]).sum() == N
        largest[heavy] = max(sizes_of_reads(found))
    assert largest[True] <= 2 * largest[False]


@pytest.mark.parametrize("outer", [False, True])
def test_a_heavy_key_is_joined_in_parts(results, monkeypatch, outer):
    monkeypatch.setattr(joins, "PART_BYTES", 8 << 10)
    pool, found = results
    largest = {}
    for heavy in (False, True):
        found.clear()
        left = data.of(rows(heavy), pool=pool).options(partitions=200)
        right = data.of([(i, i) for i in range(500)], pool=pool)
        joined = left.left_join(right) if outer else left.inner_join(right)
        expected = [(k, (x, k if k < 500 else None)) for k, x in rows(heavy) if outer or k < 500]
        assert sorted(joined.collect(), key=repr) == sorted(expected, key=repr)
        monkeypatch.setattr("cmpi.data.execution.stream_run.REDUCE_BYTES", 1)
        found.clear()
        assert joined.count() == len(expected)
        largest[heavy] = max(sizes_of_reads(found))
    assert largest[True] <= 2 * max(largest[False], 8 << 10)


def test_parts_have_each_block_of_the_left_stream_once():
    left = {1: [RowBlock(3 << 20, 1, "a", i) for i in range(5)], 2: [RowBlock(1, 1, "b")]}
    right = {1: [RowBlock(1, 1, "c"), RowBlock(1, 1, "d")], 3: [RowBlock(1, 1, "e")]}
    tasks = pairs_of_partitions(left, right, 1 << 20)
    pairs = [pair for task in tasks for pair in task]
    assert [block for blocks, _ in pairs for block in blocks] == [*left[1], *left[2]]
    assert all(list(others) == right.get(1 if blocks[0].path == "a" else 2, []) for blocks, others in pairs)
    assert len(tasks) == 6
    right[1].append(RowBlock(9 << 20, 1, "f"))  # to read these again for each part would be more work
    again = [pair for task in pairs_of_partitions(left, right, 1 << 20) for pair in task]
    assert [len(blocks) for blocks, _ in again] == [3, 2, 1]
