"""Rows in columns stay there from a source to a table, a file, or the disk: no row is made of them."""

import pytest

from cmpi import data
from cmpi.data import chunks
from cmpi.data.sources import columnar

np = pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
here = data.Serial()
N = 1000
TABLE = pa.table(
    {
        "id": pa.array(range(N), "int32"),
        "ms": [x / 4 if x % 7 else None for x in range(N)],
        "text": [f"{x:03}" if x % 5 else None for x in range(N)],
    }
)
TO_TABLE = {
    "arrow": lambda result: result,
    "polars": lambda result: result.to_arrow(),
    "pandas": lambda result: pa.Table.from_pandas(result, preserve_index=False),
}


@pytest.fixture
def stream(tmp_path):
    """Two files of several splits each."""
    parquet.write_table(TABLE.slice(0, 600), tmp_path / "0.parquet", row_group_size=100)
    parquet.write_table(TABLE.slice(600), tmp_path / "1.parquet", row_group_size=100)
    return data.parquet(tmp_path, split_bytes=2000, pool=here)


@pytest.fixture
def no_rows(stream, monkeypatch):
    """The same, where no row can be made."""
    for module in (columnar, chunks):
        monkeypatch.setattr(module, "records", None)
    return stream


def in_rows(stream):
    return stream.map(lambda row: row)


@pytest.mark.parametrize("into", TO_TABLE)
def test_collected_tables_keep_the_types_of_their_columns(no_rows, into):
    pytest.importorskip("polars" if into == "polars" else into if into == "pandas" else "pyarrow")
    found = TO_TABLE[into](no_rows.collect(into))
    assert found.cast(TABLE.schema).equals(TABLE)
    if into == "arrow":
        assert found.schema.equals(TABLE.schema)
        some = no_rows.filter(data.col("id") > 990).select("id").collect(into)
        assert some.to_pydict() == {"id": list(range(991, 1000))}
        none = no_rows.filter(data.col("id") > 2000).collect(into)
        assert none.num_rows == 0 and none.schema.equals(TABLE.schema)


def test_an_array_collected_from_columns_equals_the_one_from_rows(stream, monkeypatch):
    numbers = stream.map_batches(lambda t: t.set_column(1, "ms", pa.array([0.5] * len(t), "float32")))
    for names in (("id",), ("id", "ms"), ("ms",), ("text",), ("id", "text")):
        found, expected = (each.select(*names).collect("numpy") for each in (numbers, in_rows(numbers)))
        assert found.dtype == expected.dtype and (found == expected).all()
    monkeypatch.setattr(chunks, "records", None)
    assert numbers.select("id", "ms").collect("numpy").shape == (N, 2)


def test_tables_and_rows_and_other_columns_are_collected_together(stream):
    chained = stream.chain(in_rows(stream), stream.select("id"))
    assert chained.select("id").collect("arrow")["id"].to_pylist() == list(range(N)) * 3
    wider = stream.map_batches(lambda t: t.set_column(0, "id", t["id"].cast("int64")))
    assert stream.chain(wider).collect("arrow")["id"].type == pa.int64()
    assert stream.pipe(data.fork(data.collect("arrow"), data.count()))[0].num_rows == N


def test_columns_of_other_types_are_collected_together_by_pandas(stream):
    pytest.importorskip("pandas")
    other = stream.select("text").map_batches(lambda t: t.rename_columns(["id"]))
    assert stream.select("id").chain(other).collect("pandas").shape == (2 * N, 1)


@pytest.mark.parametrize("name", ["parquet", "ipc"])
def test_stored_and_written_columns_are_never_converted_to_rows(no_rows, tmp_path, name):
    kept = no_rows.persist()
    assert kept.collect("arrow").equals(TABLE)
    stored = kept.repartition(3)
    manifest = getattr(stored, f"write_{name}")(tmp_path / "out")
    assert [each.rows for each in manifest.files] == [333, 333, 334]
    assert getattr(data, name)(tmp_path / "out", pool=here).collect("arrow").equals(TABLE)
    assert stored.select("id").sum("id") == sum(range(N))


def test_stored_columns_can_be_read_as_rows(stream):
    assert stream.repartition(3).map(tuple).collect() == stream.map(tuple).collect()
    assert stream.persist().map(tuple).sort(0, reverse=True).take(1).collect() == [(999, 249.75, "999")]
    both = stream.chain(data.range(5, pool=here)).repartition(4)
    assert [getattr(row, "id", row) for row in both] == [*range(N), *range(5)]


def test_a_slice_is_sent_without_the_rest_of_its_table():
    table = pa.table({"x": range(100_000)})
    part = chunks.compact(table.slice(10, 10))
    assert part.get_total_buffer_size() < 1000 and part.equals(table.slice(10, 10))
    assert chunks.compact(table) is table
