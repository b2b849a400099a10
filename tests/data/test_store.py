"""What a job has on disks: the blocks in its splits, and what takes the places of lost ones."""

import os

import pytest

from cmpi import data
from cmpi.data.execution.block_walk import blocks_in, with_blocks
from cmpi.data.execution.joining_rows import JoinPart, Shuffled
from cmpi.data.execution.places import NoFolder, Places, Unreachable, at, fetched, host_here
from cmpi.data.execution.shuffle import GroupPart
from cmpi.data.execution.spill import BlockWriter, RowBlock, read
from cmpi.data.execution.store import Keeper, Store
from cmpi.data.execution.stored import NumberedPart, Slice
from cmpi.errors import CmpiError
from cmpi.identifiers import Pid

A, B, C = (RowBlock(1, 2, f"/elsewhere/{name}", 3) for name in "abc")
HELD = [
    GroupPart(((A, B), (C,)), data.count(), 100),
    JoinPart((((A,), (B, C)),), True, 100),
    NumberedPart(Slice((A, B, C), 1, 2), 3),
    Shuffled({1: [A, B], 2: [C]}, ("a",), ()),
    [[("key", "key", A), ("key", "key", B)], [("key", "key", C)]],
    (1, 0, Slice((A, B, C), 0, 6)),
]


@pytest.mark.parametrize("value", HELD, ids=lambda value: type(value).__name__)
def test_blocks_are_found_and_replaced_in_all_kinds_of_splits_and_results(value):
    assert list(blocks_in(value)) == [A, B, C]
    other = with_blocks(value, lambda block: A if block is B else block)
    assert list(blocks_in(other)) == [A, A, C] and type(other) is type(value)
    assert with_blocks(value, lambda block: block) == value


def test_the_rows_of_a_split_are_not_searched():
    rows = [A]
    items = next(iter(data.of(rows)._node.reader.splits()))
    assert list(blocks_in((0, 0, items))) == []


@pytest.fixture
def store(tmp_path):
    """A store that had a folder on another host, which was lost with the blocks A and B."""
    store = Store(str(tmp_path))
    store.open()
    store._keepers["other"] = Keeper(Pid(1), "/elsewhere")
    yield store
    store._keepers.clear()
    store.close()
    assert os.listdir(tmp_path) == []


def test_lost_blocks_are_made_again_once_with_all_others_of_their_stage_on_that_host(store):
    def task():
        """Stands for the task of a stage."""

    store.record(task, (0, 0, "split"), [A])
    store.record(task, (1, 0, "another"), [B])
    store.record(None, (0, 0, "of another stage"), [C])
    asked = []

    def rerun(again, which, arguments):
        asked.append((again is store, which, arguments))
        return [[RowBlock(9, 2, f"/new/{i}")] for i, _ in enumerate(arguments)]

    for _ in range(2):
        store.mend(Unreachable("/elsewhere/a", Pid(1)), rerun)
    assert asked == [(True, task, [(0, 0, "split"), (1, 0, "another")])]
    moved = store.current((1, 0, Slice((A, B, C), 0, 1)))
    assert [block.path for block in blocks_in(moved)] == ["/new/0", "/new/1", "/elsewhere/c"]
    assert store.places().keepers == {}


def test_a_split_whose_rows_change_between_reads_is_an_error(store):
    store.record(None, (0, 0, "split"), [A])
    with pytest.raises(CmpiError, match="gave other rows when it was read again"):
        store.mend(Unreachable("/elsewhere/a", Pid(1)), lambda *_: [[RowBlock(1, 1, "/new/a")]])


def test_a_task_without_a_folder_or_a_keeper_names_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("cmpi.data.execution.places.pid", lambda: Pid(7))
    with pytest.raises(NoFolder) as caught:
        BlockWriter()
    assert (caught.value.host, caught.value.worker) == (host_here(), Pid(7))
    with pytest.raises(Unreachable) as caught:
        list(read([A]))
    assert (caught.value.path, caught.value.keeper) == (A.path, None)
    with (
        at(Places({host_here(): str(tmp_path)})),
        pytest.raises(FileNotFoundError, match="something else has removed it"),
    ):
        fetched(str(tmp_path), [(f"{tmp_path}/gone", 0, 1)])
