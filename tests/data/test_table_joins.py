"""Joins of tables on columns: Arrow finds the partners that plain Python finds."""

import datetime
import decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data
from cmpi.data.execution import joining_rows

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
few = settings(max_examples=settings.default.max_examples // 2)
DAYS = [datetime.date(2020, 1, 1), datetime.date(1969, 12, 31)]
TIMES = [datetime.datetime(2020, 1, 1), datetime.datetime(1969, 12, 31, 23, 59, 59)]
TYPES = {
    pa.int8(): [0, 1, -1, 127],
    pa.int64(): [0, 1, -1, 127, 2**61 - 1, -(2**63)],
    pa.uint16(): [0, 1, 127],
    pa.uint64(): [0, 1, 2**61 - 1, 2**64 - 1],
    pa.string(): ["", "a", "ä"],
    pa.large_string(): ["", "a", "長い"],
    pa.bool_(): [True, False],
    pa.date32(): DAYS,
    pa.timestamp("s"): TIMES,
    pa.timestamp("us"): TIMES,
    pa.float64(): [0.0, -0.0, 1.0, float("nan")],
    pa.decimal128(9, 2): [decimal.Decimal("1.00"), decimal.Decimal("0.50")],
    pa.dictionary(pa.int32(), pa.string()): ["", "a"],
}
PAYLOADS = st.sampled_from(
    [
        (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
        (pa.struct({"s": pa.string()}), st.fixed_dictionaries({"s": st.sampled_from("ab")})),
        (pa.string(), st.text("xy", max_size=3)),
        (pa.float32(), st.sampled_from([0.5, 1.5])),
    ]
)


@st.composite
def tables(draw, kinds):
    """A table with two key columns of these types, `a` and `b`, and another column `x`."""
    n = draw(st.integers(0, 12))
    kind, values = draw(PAYLOADS)
    columns = {
        name: pa.array(draw(st.lists(st.none() | st.sampled_from(TYPES[key]), min_size=n, max_size=n)), key)
        for name, key in zip("ab", kinds)
    }
    columns["x"] = pa.array(draw(st.lists(st.none() | values, min_size=n, max_size=n)), kind)
    return pa.table(columns)


def stream(table, **options):
    """A stream of a table in three splits; the function that makes it gives tables."""
    third = -(-table.num_rows // 3)
    rows = data.of([0, 1, 2], pool=data.Serial()).options(**options)
    return rows.map_batches(lambda batch: table.slice(batch[0] * third, third), format="list", n=1)


def joined(left, right, on, outer):
    """The same join in plain Python."""
    rest = [name for name in right.column_names if name not in on.values()]
    found = []
    for row in left.to_pylist():
        partners = [
            other
            for other in right.to_pylist()
            if all(row[a] is not None and row[a] == other[b] for a, b in on.items())
        ]
        partners = partners or [dict.fromkeys(rest)] * outer
        found += [(*row.values(), *(other[name] for name in rest)) for other in partners]
    return sorted(map(repr, found))


def rows(stream):
    return sorted(repr(tuple(row)) for row in stream)


@few
@given(st.data(), st.sampled_from([1, 2000, "64 MiB"]), st.booleans())
def test_arrow_joins_find_the_same_partners_as_python(drawn, memory, outer):
    kinds = [drawn.draw(st.sampled_from(list(TYPES))) for _ in range(3)]
    left, right = drawn.draw(tables(kinds[:2])), drawn.draw(tables([kinds[0], kinds[2]]))
    on = drawn.draw(st.sampled_from([{"a": "a"}, {"a": "a", "b": "b"}, {"b": "a"}, {"a": "b"}]))
    first, second = stream(left, memory=memory, partitions=3), stream(right)
    join = first.left_join if outer else first.inner_join
    both = join(second, on=on)
    assert rows(both) == joined(left, right, on, outer)
    assert both.count() == len(joined(left, right, on, outer))
    if right.num_rows:  # otherwise nobody knows its columns
        by_row = join(second.filter(lambda row: True), on=on)
        assert rows(by_row) == joined(left, right, on, outer)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Sales and shops as files, which Arrow must join."""
    sales = pa.table({"shop": [1, 2, 1, None, 3] * 20, "n": range(100), "id": ["a", "b"] * 50})
    shops = pa.table({"id": pa.array([1, 2, 2], "int16"), "city": ["Oslo", "Rome", "Bonn"]})
    parquet.write_table(sales, tmp_path / "sales.parquet", row_group_size=10)
    with pa.ipc.new_file(tmp_path / "shops.arrow", shops.schema) as file:
        file.write_table(shops)
    monkeypatch.setattr(joining_rows.JoinPart, "rows", None)
    read = data.parquet(tmp_path / "sales.parquet", split_bytes=1024, pool=data.Serial())
    return read, data.ipc(tmp_path / "shops.arrow", pool=data.Serial())


@pytest.mark.parametrize("memory", [1, 3000, "64 MiB"])
def test_files_are_joined_grouped_and_joined_again_in_columns(files, memory):
    sales, shops = (each.options(memory=memory) for each in files)
    both = sales.left_join(shops, on={"shop": "id"})
    assert both.filter(data.col("n") == 1).sort("city").collect() == [
        (2, 1, "b", "Bonn"),
        (2, 1, "b", "Rome"),
    ]
    assert both.group_by("city", into=data.sum("n")).sort(lambda pair: str(pair[0])).collect() == [
        ("Bonn", 970),
        (None, 2040),
        ("Oslo", 1940),
        ("Rome", 970),
    ]
    assert both.count() == 120 and both.sum("n") == 5920
    assert both.select("n", "city").filter(data.col("n") < 2).select("n").sum("n") == 2
    chained = both.map_batches(lambda table: table.select(["city", "n"])).inner_join(
        both.select("city", "n"), on=("city", "n")
    )
    assert chained.count() == 80


def test_an_empty_side_of_a_join_keeps_its_columns(files):
    sales, shops = files
    nowhere = shops.filter(data.col("id") > 5)
    assert sales.left_join(nowhere, on={"shop": "id"}).filter(data.col("n") < 2).sort("n").collect() == [
        (1, 0, "a", None),
        (2, 1, "b", None),
    ]
    assert nowhere.left_join(sales, on={"id": "shop"}).collect() == []
    assert nowhere.inner_join(sales, on={"id": "shop"}).sum("n") == 0


def test_partners_with_many_copies_are_all_found_in_small_batches(files):
    same = data.of([0, 1], pool=data.Serial()).map_batches(
        lambda _: pa.table({"k": [1] * 500}), format="list", n=1
    )
    assert same.inner_join(same, on="k").count() == 1000 * 1000


def test_a_column_that_a_table_lacks_is_named(files):
    sales, shops = files
    with pytest.raises(data.BadRow, match="no attribute 'where'"):
        sales.inner_join(shops, on={"where": "id"}).count()


def test_tables_are_written_with_their_types(files, tmp_path):
    sales, shops = files
    both = sales.inner_join(shops, on={"shop": "id"}).map_batches(
        lambda table: table.set_column(1, "n", table["n"].cast("int8")).append_column(
            "note", pa.array([None] * len(table), "string" if table["n"][0].as_py() < 50 else "null")
        )
    )
    manifest = both.chain(both).write_parquet(tmp_path / "out", rows_per_file=7)
    table = parquet.read_table(tmp_path / "out")
    assert manifest.rows == table.num_rows == 160 and len(manifest.files) == 2 * -(-80 // 7)
    assert table.schema.field("n").type == "int8"
    assert sorted(table["n"].to_pylist()) == sorted(2 * both.map(lambda row: row.n).collect())
    rows = stream(pa.table({"x": [1, 2, 3]})).map_batches(lambda table: table.to_pylist())
    assert rows.write_parquet(tmp_path / "rows").rows == 3
    assert parquet.read_table(tmp_path / "rows")["x"].to_pylist() == [1, 2, 3]
