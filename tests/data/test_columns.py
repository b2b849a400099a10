"""Groups that Arrow computes, before and after the shuffle, compared with the same computed by rows."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi import data
from cmpi._core.data.stable_hash import partition, stable_hash
from cmpi.data import chunks, columns, hashing
from cmpi.data.execution import shuffle
from cmpi.data.sources import columnar

np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
here = data.Serial()
chance = random.Random(3)
N = 3000
LARGE = [2**61 - 2, 2**61 - 1, 2**63 - 1, -(2**63), 1 - 2**61, -1, 0]
KEYS = {
    "integers": [chance.randrange(-50, 50) for _ in range(N)],
    "integers and gaps": [chance.choice([None, *range(50)]) for _ in range(N)],
    "large integers": [chance.choice(LARGE) for _ in range(N)],
    "text": [chance.choice(["", "a", "ä", "長い", None]) for _ in range(N)],
    "fractions": [chance.choice([0.5, 1.5, -2.0]) for _ in range(N)],
}  # fmt: skip
SINKS = (data.count(), data.sum("ms"), data.mean("ms"), data.min("ms"), data.max("ms"))


@pytest.fixture(params=KEYS)
def stream(request, tmp_path):
    """Two files of several splits each, with a column of keys."""
    ms = [chance.choice([None, *range(100)]) for _ in range(N)]
    table = pa.table({"key": KEYS[request.param], "ms": ms})
    parquet.write_table(table.slice(0, N // 2), tmp_path / "0.parquet", row_group_size=300)
    parquet.write_table(table.slice(N // 2), tmp_path / "1.parquet", row_group_size=300)
    return data.parquet(tmp_path, split_bytes=2000, pool=here)


def by_rows(stream, sink):
    """The groups of a stream that Arrow cannot compute, because it has a Python function in it."""
    return stream.filter(lambda row: True).group_by("key", into=sink).collect(dict)


@pytest.mark.parametrize("memory", [1, "64 MiB"])
def test_groups_from_columns_equal_groups_from_rows(stream, memory):
    stream = stream.options(memory=memory, partitions=5)
    for sink in (
        *SINKS,
        data.fork(*SINKS),
        data.fork(data.count(), data.fork(data.count(), data.sum("ms"))),
    ):
        assert stream.group_by("key", into=sink).collect(dict) == by_rows(stream, sink)


def test_groups_of_some_columns_and_some_rows_are_merged(stream):
    sink = data.fork(*SINKS)
    rows = stream.filter(lambda row: True)
    # Tables with other columns are not put together before their groups are computed.
    in_batches = stream.map_batches(lambda t: t if len(t) == 70 else t.append_column("b", t["ms"]), n=70)
    for memory in (1, "64 MiB"):
        for others in ([rows], [in_batches], [in_batches, rows]):
            every = stream.options(memory=memory).chain(*others)
            expected = stream.chain(*[stream] * len(others))
            assert every.group_by("key", into=sink).collect(dict) == by_rows(expected, sink)
            assert every.pipe(sink) == expected.map(lambda row: row).pipe(sink)


@pytest.mark.parametrize("memory", [1, "64 MiB"])
def test_columns_of_several_types_are_grouped_together(memory):
    tables = [
        pa.table({"key": pa.array([1, 2], kind), "ms": pa.array([3, 4], other)})
        for kind in ("int8", "uint64")
        for other in ("int16", "float32")
    ]
    stream = data.of([0, 1, 2, 3] * 2, pool=here).repartition(2).options(memory=memory)
    stream = stream.map_batches(lambda numbers: tables[numbers[0]], format="list", n=1)
    assert stream.group_by("key", into=data.fork(*SINKS)).collect(dict) == by_rows(
        stream, data.fork(*SINKS)
    )
    assert stream.group_by("key", into=data.sum("ms")).collect(dict) == {1: 24, 2: 32}
    assert stream.sum("ms") == 56 and stream.inner_join(stream, on="key").count() == 128


def test_an_empty_stream_has_no_groups(stream):
    nothing = stream.filter(data.col("ms") > 1000)
    assert nothing.group_by("key", into=data.fork(*SINKS)).collect() == []


def test_arrow_merges_where_it_can(tmp_path, monkeypatch):
    rows = pa.table({"sum": [1, 2, 1], "key": [1.0, 2.0, 3.0]})
    parquet.write_table(rows, tmp_path / "a.parquet")
    groups = data.parquet(tmp_path, pool=here).group_by(
        "sum", into=data.fork(data.sum("key"), data.count())
    )
    monkeypatch.setattr(shuffle.Groups, "merge", None)  # this would merge states
    assert groups.collect(dict) == {1: (4.0, 2), 2: (2.0, 1)}


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("sink", [*SINKS, data.stddev("ms"), data.fork(*SINKS)], ids=str)
def test_no_row_is_made_for_what_arrow_computes(tmp_path, monkeypatch, sink, prepared):
    parquet.write_table(pa.table({"ms": [1, 2, 4], "key": [1, 2, 1]}), tmp_path / "a.parquet")
    stream = data.parquet(tmp_path, pool=here)
    if prepared:
        stream = stream.map_batches(lambda table: table)
    expected = stream.map(lambda row: row).fork(sink, data.group_by("key", into=sink))
    monkeypatch.setattr(columnar, "records", None)
    monkeypatch.setattr(chunks, "records", None)
    assert (stream.pipe(sink), stream.group_by("key", into=sink).collect(dict)) == expected
    assert dict(stream.group_by(("key", "ms"), into=data.count())) == {(1, 1): 1, (2, 2): 1, (1, 4): 1}


def test_values_that_arrow_cannot_merge_become_python_states():
    table = pa.table({"key": [1, 2], "sum": [pa.scalar(2), pa.scalar(3)]})
    assert columns.can_be_shuffled(table, data.sum("x"))
    assert not columns.can_be_shuffled(table, data.stddev("x"))
    assert list(columns.pairs(table, data.sum("x"))) == [(1, 2), (2, 3)]
    texts = [pa.table({"key": [1], "value": ["a"]}), pa.table({"key": [1], "value": ["b"]})]
    assert columns.merged(texts, data.sum("x")) is None


@given(st.sampled_from(["int8", "int32", "int64", "uint32", "uint64"]), st.data())
def test_integers_in_an_array_hash_like_python_integers(kind, drawn):
    limits = np.iinfo(kind)
    integers = st.integers(int(limits.min), int(limits.max)) | st.integers(max(-2, int(limits.min)), 2)
    found = drawn.draw(st.lists(integers))
    assert hashing.hashes_of_integers(np.array(found, kind)).tolist() == list(map(stable_hash, found))


keys_of_two_columns = st.tuples(st.none() | st.integers(-2, 2**63 - 1), st.none() | st.text())


@given(st.lists(keys_of_two_columns, max_size=9), st.data())
def test_keys_in_columns_go_to_the_same_partitions_as_python_keys(keys, drawn):
    partitions, level = drawn.draw(st.integers(1, 70_000)), drawn.draw(st.integers(0, 4))
    kinds = [("a", "int64"), ("b", "string")]
    table = pa.table([[pair[i] for pair in keys] for i in (0, 1)], schema=pa.schema(kinds))
    for names in ("a", "b", "ab"):
        chosen = [table[name] for name in names]
        values = chosen[0].to_pylist() if len(names) == 1 else keys
        expected = [partition(value, partitions, level) for value in values]
        assert hashing.partition_numbers(chosen, partitions, level).tolist() == expected
        found = columns.divided(table, chosen, partitions, level)
        assert {n: part.num_rows for n, part in found} == Counter(expected)
