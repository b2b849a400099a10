"""Hive partitions: folders that name a column and its value."""

import itertools
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi import data
from cmpi._core.data import partitions
from cmpi._core.data.expressions import can_be_true
from cmpi.data import col
from cmpi.data.sources import columnar
from cmpi.errors import UsageError

here = data.Serial()
texts = st.none() | st.text(max_size=5).filter(lambda text: text != partitions.NULL)


@given(st.dictionaries(st.text(min_size=1, max_size=5), texts, max_size=3))
def test_folder_names_round_trip(keys):
    path = partitions.folder_of(keys)
    assert dict(partitions.keys_of(path.split("/"))) == keys
    assert all(partitions.is_partition(folder) for folder in path.split("/") if keys)


def test_integers_of_32_bits_are_numbers_if_all_values_are():
    def kinds(*values):
        return [
            value for keys in partitions.typed([(("a", each),) for each in values]) for _, value in keys
        ]

    assert kinds("1", "-2", "007", None) == [1, -2, 7, None]
    for other in ("x", "", "+1", "1.0", "1_0", " 1", "\u0661", str(2**31), str(-(2**31) - 1)):
        assert kinds("1", other) == ["1", other]
    assert kinds(None) == [None]


conditions = st.recursive(
    st.builds(
        lambda name, word, value: getattr(col(name), word)(value),
        st.sampled_from("ab"),
        st.sampled_from(["__eq__", "__ne__", "__lt__", "__ge__"]),
        st.integers(-2, 2) | st.sampled_from([col("a"), col("b")]),
    ),
    lambda of: (
        st.builds(lambda a, b: a & b, of, of) | st.builds(lambda a, b: a | b, of, of) | of.map(lambda a: ~a)
    ),
)


@given(conditions, st.none() | st.integers(-2, 2))
def test_pruning_never_drops_a_row_that_satisfies_the_condition(condition, a):
    rows = [{"a": a, "b": b} for b in (None, -3, -2, -1, 0, 1, 2, 3)]
    found = any(condition(row) is True for row in rows)
    assert can_be_true(condition, {"a": a}) or not found
    for row in rows:
        assert can_be_true(condition, row) == (condition(row) is True)


def test_files_whose_values_cannot_be_compared_are_read():
    assert can_be_true(col("a") < "x", {"a": 1}) and not can_be_true(col("a") == "x", {"a": 1})
    assert can_be_true(col("a"), {"a": True}) and not can_be_true(col("a"), {"a": False})


SALES = {
    "year=2023/shop=a%2Fb/0": [1, 2],
    "year=2023/shop=c/0": [3],
    "year=2024/shop=c/0": [4, 5],
    "year=2024/shop=__HIVE_DEFAULT_PARTITION__/0": [6],
    "year=2024/_hidden=1/0": [99],
    "other/0": [99],
}
ROWS = [(1, 2023, "a/b"), (2, 2023, "a/b"), (3, 2023, "c"), (6, 2024, None), (4, 2024, "c"), (5, 2024, "c")]
ROWS.sort(key=lambda row: (row[1], row[2] or ""))


@pytest.fixture(params=["parquet", "ipc", "csv"])
def sales(request, tmp_path):
    """A function that reads files in partitions, given the end of their path."""
    form = request.param
    if form != "csv":
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
    for name, numbers in SALES.items():
        path = tmp_path / "sales" / f"{name}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "csv":
            path.write_text("n\n" + "".join(f"{n}\n" for n in numbers))
        elif form == "ipc":
            table = pa.table({"n": numbers})
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
        else:
            parquet.write_table(pa.table({"n": numbers}), path)
    options = {"types": {"n": int}} if form == "csv" else {}
    return lambda end="", **more: getattr(data, form)(
        f"{tmp_path}/sales{end}", pool=here, **options, **more
    )


def rows(stream):
    return sorted(map(tuple, stream), key=lambda row: tuple(map(str, row)))


def test_partition_folders_become_columns(sales):
    expected = rows(ROWS)
    stream = sales()
    assert rows(stream) == expected == rows(stream.filter(lambda row: True))
    assert stream.take(1).collect()[0]._fields == ("n", "year", "shop")
    assert rows(stream.select("shop", "n")) == rows((shop, n) for n, _, shop in ROWS)
    assert rows(sales(columns=["year"])) == rows((year,) for _, year, _ in ROWS)
    assert stream.sum("year") == sum(row[1] for row in ROWS) and stream.count() == len(ROWS)
    assert stream.group_by("year", into=data.sum("n")).collect(dict) == {2023: 6, 2024: 15}
    assert rows(stream.filter(col("year") == 2024)) == rows(row for row in ROWS if row[1] == 2024)
    of_c = stream.filter((col("shop") == "c") & (col("n") > 3))
    assert rows(of_c) == [(4, 2024, "c"), (5, 2024, "c")] and of_c.select("n").sum("n") == 9
    assert stream.filter(col("year") == 1999).count() == 0


def test_folders_matched_by_a_glob_become_columns_and_those_above_do_not(sales):
    assert rows(sales("/year=20*/shop=c/*.*")) == [(3, 2023, "c"), (4, 2024, "c"), (5, 2024, "c")]
    assert rows(sales("/year=2023/shop=*")) == [(1, "a/b"), (2, "a/b"), (3, "c")]
    assert rows(sales("/year=2024/shop=c")) == [(4,), (5,)]
    assert rows(sales("/*=2023")) == [(1, 2023, "a/b"), (2, 2023, "a/b"), (3, 2023, "c")]


@pytest.mark.parametrize("sales", ["parquet", "ipc"], indirect=True)
def test_a_filter_skips_files_that_their_folders_rule_out(sales, monkeypatch):
    stream = sales().filter((col("year") == 2024) & (col("n") > 0)).filter(col("shop") != "a/b")
    reader = columnar.ColumnarFiles.splits
    opened = []

    def splits(self):
        for split in reader(self):
            opened.append(dict(split.keys))
            yield split

    monkeypatch.setattr(columnar.ColumnarFiles, "splits", splits)
    assert stream.sum("n") == 9 and opened == [{"year": 2024, "shop": "c"}]


def test_pyarrow_finds_the_same_columns_and_types(tmp_path):
    pa = pytest.importorskip("pyarrow")
    dataset, parquet = pytest.importorskip("pyarrow.dataset"), pytest.importorskip("pyarrow.parquet")
    for i, names in enumerate(
        itertools.combinations(["1", "-7", "x y", "007", "é", "2147483648", None], 2)
    ):
        for number, value in enumerate(names):
            folder = tmp_path / str(i) / partitions.folder_of({"k": value, "n": number})
            folder.mkdir(parents=True)
            parquet.write_table(pa.table({"v": [number]}), folder / "0.parquet")
        theirs = dataset.dataset(tmp_path / str(i), partitioning="hive").to_table()
        stream = data.parquet(tmp_path / str(i), pool=here)
        assert [row._asdict() for row in stream] == theirs.to_pylist()
        split = next(iter(stream._node.reader.splits()))
        assert split.schema.equals(theirs.schema)
    assert urllib.parse.unquote(partitions.folder_of({"é": "ß"})) == "é=ß"


def test_a_folder_overrides_the_files_column_of_the_same_name(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
        parquet.write_table(pa.table({"day": [9], "n": [day]}), tmp_path / f"day={day}" / "0.parquet")
        (tmp_path / f"day={day}" / "0.csv").write_text("day,n\n9,7\n")
    assert data.parquet(f"{tmp_path}/*/*.parquet", pool=here).collect() == [(1, 1), (2, 2)]
    assert data.csv(f"{tmp_path}/*/*.csv", pool=here).collect() == [(1, "7"), (2, "7")]


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("memory", [1, "64 MiB"])
@pytest.mark.parametrize("kind", ["records", "dicts", "tables"])
def test_rows_written_to_partitions_are_read_back(tmp_path, form, memory, kind):
    pa = pytest.importorskip("pyarrow")
    stream = data.of(ROWS * 3, pool=here).options(memory=memory)
    stream = stream.map(lambda row: dict(zip(("n", "year", "shop"), row)))
    if kind == "records":
        stream = stream.select("n", "year", "shop")
    if kind == "tables":
        kinds = pa.schema([("n", "int64"), ("year", "int64"), ("shop", "string")])
        stream = stream.map_batches(lambda rows: pa.Table.from_pylist(rows, kinds), format="list")
    write = getattr(stream, f"write_{form}")
    out = tmp_path / "out"
    manifest = write(out, partition_by=("year", "shop"), rows_per_file=2)
    assert manifest.rows == 18 and max(file.rows for file in manifest.files) <= 2
    assert names_in(out) == sorted(["_manifest.json", *(file.name for file in manifest.files)])
    assert {file.name.rpartition("/")[0] for file in manifest.files} == {
        "year=2023/shop=a%2Fb",
        "year=2023/shop=c",
        "year=2024/shop=c",
        "year=2024/shop=__HIVE_DEFAULT_PARTITION__",
    }
    options = {"types": {"n": int}} if form == "csv" else {}
    read = getattr(data, form)(out, pool=here, **options)
    assert rows(read) == rows(ROWS * 3)
    getattr(stream.filter(lambda row: False), f"write_{form}")(out, partition_by="year", overwrite=True)
    assert names_in(out) == ["_manifest.json"] and [path.name for path in out.iterdir()] == [
        "_manifest.json"
    ]


def test_partitions_use_the_schemas_types_and_need_a_column_besides(tmp_path):
    pa = pytest.importorskip("pyarrow")
    stream = data.of([{"a": 1, "_b": True}], pool=here)
    schema = pa.schema([("_b", pa.bool_()), ("a", pa.int8())])
    stream.write_parquet(tmp_path / "out", schema=schema, partition_by="_b")
    read = data.parquet(tmp_path / "out", pool=here)
    assert read.map_batches(lambda table: [list(map(str, table.schema.types))]).collect() == [
        ["int8", "string"]
    ]
    assert read.take(1).map(lambda row: row[1]).collect() == ["true"]
    for each in (stream, stream.map_batches(lambda table: table)):
        with pytest.raises(data.BadRow, match="leaves no column"):
            each.write_parquet(tmp_path / "none", partition_by=["_b", "a"])
        with pytest.raises(data.BadRow, match="nowhere"):
            each.write_parquet(tmp_path / "none", partition_by="nowhere")
    for names in (3, ["a", "a"], ["a", 3]):
        with pytest.raises((UsageError, TypeError), match=r"partition_by must be|not iterable"):
            stream.write_csv(tmp_path / "none", partition_by=names)
    assert names_in(tmp_path / "none") == []
    (tmp_path / "out" / "_manifest.json").write_text('{"files": [{"name": "../part-0"}]}')
    with pytest.raises(UsageError, match="was not written by cmpi"):
        stream.write_parquet(tmp_path / "out", overwrite=True)
