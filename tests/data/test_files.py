"""Irregular files: empty, truncated, with odd line ends and bytes. They give the documented rows, or an
error that names file, line and column."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data
from cmpi.errors import UsageError

few = settings(max_examples=settings.default.max_examples // 2)
here = data.Serial()


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def lines_of(path, **options):
    return data.text(path, pool=here, **options).collect()


@pytest.mark.parametrize(
    "content, rows",
    [
        ("", []),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("\n", [""]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("\ufeffa\nb", ["a", "b"]),
        ("a\x0bb\u2028c\x85d\n", ["a\x0bb\u2028c\x85d"]),
    ],
)
def test_lines_end_only_at_newlines_in_plain_and_compressed_text(write, content, rows):
    assert lines_of(write("a.txt", content)) == rows
    for name, compress in (("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress)):
        assert lines_of(write(name, compress(content.encode()))) == rows


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
@few
@given(text=st.text(st.sampled_from("ab\n\ré"), max_size=3000), split_bytes=st.integers(1024, 1100))
def test_splits_have_each_line_once_wherever_they_begin(tmp_path_factory, block, text, split_bytes):
    path = tmp_path_factory.getbasetemp() / "splits.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmpi.data.sources.lines.BLOCK", block)
        found = lines_of(str(path), split_bytes=split_bytes)
    expected = text.split("\n")
    assert found == [line.removesuffix("\r") for line in expected[: len(expected) - (not expected[-1])]]


def test_globs_folders_and_lists_are_read_in_order(write, tmp_path, monkeypatch):
    for name in ("b.txt", "a.txt", "_skipped.txt", ".hidden.txt"):
        write(name, name)
    assert lines_of(str(tmp_path / "*.txt")) == lines_of(tmp_path) == ["a.txt", "b.txt"]
    assert lines_of([str(tmp_path / "b.txt"), str(tmp_path / "a.txt")]) == ["b.txt", "a.txt"]
    with pytest.raises(FileNotFoundError, match=r"no file matches 'nothing\*'"):
        lines_of("nothing*")


def test_a_path_with_a_protocol_is_read_by_fsspec():
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in ("a", "b", "_c"):
        files.pipe(f"/logs/{name}.txt", f"{name}\n".encode() * 1000)
    assert lines_of("memory://logs/*.txt", split_bytes=1024) == ["a"] * 1000 + ["b"] * 1000
    assert lines_of("memory://logs/a.txt") == ["a"] * 1000
    with pytest.raises(FileNotFoundError):
        lines_of("memory://logs/nothing")


def test_a_line_that_is_not_in_the_encoding_is_a_bad_row_with_file_line_and_column(write):
    path = write("a.txt", b"fine\n" * 400 + b"caf\xe9\n" + b"fine\n" * 10)
    with pytest.raises(data.BadRow, match=r"a\.txt, line 401, column 4: byte 0xe9 is no utf-8") as raised:
        lines_of(path, split_bytes=1024)
    assert (raised.value.file, raised.value.line, raised.value.column) == (path, 401, 4)
    assert lines_of(path, encoding="latin-1")[400] == "café"
    assert lines_of(path, errors="replace")[400] == "caf\ufffd"
    stream = data.text(path, pool=here)
    assert stream.options(on_error="skip").collect() == ["fine"] * 410
    rows, errors = stream.options(on_error="collect").count()
    assert rows == 410 and [error.line for error in errors] == [401]


def test_whole_json_files_are_lists_of_rows_or_a_row(write, tmp_path):
    write("a.json", '[{"x": 1},\n {"x": 2}]')
    write("b.json", '{"x": 3}')
    assert data.json(tmp_path, pool=here).map(lambda row: row["x"]).collect() == [1, 2, 3]
    bad = write("c.json", "[1,\n2,")
    with pytest.raises(data.BadRow, match=r"c\.json, line 2, column 3: no JSON"):
        data.json(bad, pool=here).collect()
    assert data.json(tmp_path, pool=here).options(on_error="skip").count() == 3


def test_arrays_are_read_by_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3000).reshape(1000, 3))
    np.save(tmp_path / "b.npy", np.arange(6).reshape(2, 3))
    rows = data.npy(tmp_path, split_bytes=1024, pool=here)
    assert rows.map(lambda row: int(row.sum())).sum() == sum(range(3000)) + 15
    assert rows.take(2).collect()[1].tolist() == [3, 4, 5]
    np.save(tmp_path / "one.npy", np.array([1.5, 2.5]))
    assert data.npy(tmp_path / "one.npy", pool=here).collect() == [1.5, 2.5]


def test_fortran_ordered_arrays_and_archives_are_read_by_rows(tmp_path):
    array = np.asfortranarray(np.arange(3000).reshape(1000, 3))
    np.save(tmp_path / "a.npy", array)
    rows = data.npy(tmp_path / "a.npy", split_bytes=1024, pool=here).collect()
    assert np.array_equal(rows, array)
    np.savez(tmp_path / "b.npz", x=np.arange(3), y=np.eye(3))
    np.savez_compressed(tmp_path / "c.npz", x=np.arange(3), y=np.eye(3))
    found = data.npy([tmp_path / "b.npz", tmp_path / "c.npz"], pool=here).collect()
    assert [(row.x, row.y.tolist()) for row in found] == [(i, np.eye(3)[i].tolist()) for i in range(3)] * 2


def test_an_array_that_is_cut_off_names_the_row(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3000).reshape(1000, 3))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-25])
    message = r"a\.npy cannot be read: it has 1000 rows, and ends after row 998\. It is truncated"
    with pytest.raises(data.UnreadableFile, match=message):
        data.npy(tmp_path / "a.npy", pool=here).count()
    np.savez(tmp_path / "b.npz", x=np.arange(3000))
    (tmp_path / "b.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:-30])
    with pytest.raises(data.UnreadableFile, match=r"b\.npz cannot be read: .*truncated"):
        data.npy(tmp_path / "b.npz", pool=here).count()


def test_a_file_without_an_array_of_rows_is_named(write, tmp_path):
    np.save(tmp_path / "number.npy", np.array(1))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    np.savez(tmp_path / "several.npz", x=np.arange(3), y=np.arange(4))
    for name in (
        "number.npy",
        "objects.npy",
        "several.npz",
        write("text.npy", "text"),
        write("empty.npy", ""),
    ):
        with pytest.raises(data.UnreadableFile, match="cannot be read"):
            data.npy(tmp_path / name, pool=here).collect()


def test_a_function_that_raises_names_the_row_by_file_and_line(write):
    path = write("a.txt", "".join(f"{i}\n" for i in range(1, 1000)))

    def invert(text):
        return 1 / (int(text) - 700)

    stream = data.text(path, pool=here, split_bytes=1024)
    with pytest.raises(data.BadRow, match=r"a\.txt, line 700: ZeroDivisionError: .*division") as raised:
        stream.map(invert).sum()
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    with pytest.raises(data.BadRow, match=r"at or shortly before .*a\.txt, line 7.*ZeroDivisionError"):
        stream.fork(data.map(invert) | data.sum(), data.count())
    for step in (stream.map(invert), stream.filter(invert), stream.flat_map(lambda x: [invert(x)])):
        count, errors = step.options(on_error="collect").count()
        assert count == 998 and [(error.file, error.line) for error in errors] == [(path, 700)]
    assert stream.options(on_error="skip").group_by(invert, into=data.count()).count() == 998
    assert stream.inspect(invert).options(on_error="skip").enumerate().count() == 998


# -- CSV ---------------------------------------------------------------------------------------


def test_csv_rows_are_records_of_strings_or_of_given_types(write):
    path = write("a.csv", '\ufeffurl,ms,note\r\n/,3,"a ""b"", c"\r\n\r\n/x,,"two\nlines"\n')
    rows = data.csv(path, pool=here).collect()
    assert rows == [("/", "3", 'a "b", c'), ("/x", "", "two\nlines")] and rows[0].ms == "3"
    typed = data.csv(path, pool=here, types={"ms": int}, columns=["ms", "url"]).collect()
    assert typed == [(3, "/"), (None, "/x")] and typed[0]._fields == ("ms", "url")
    stream = data.csv(path, pool=here, types={"ms": int}).select("ms")
    assert stream.collect() == [(3,), (None,)] and "csv" in stream.explain().splitlines()[-1]
    assert stream.sum("ms") == 3
    no_header = write("b.csv", "1;2\n3;4")
    stream = data.csv(no_header, pool=here, header=["a", "b"], delimiter=";")
    assert [row.b for row in stream] == ["2", "4"]


@pytest.mark.parametrize(
    "content, rows", [("", []), ("a,b", []), ("a,b\n", []), ("a,b\n1,2", [("1", "2")])]
)
def test_empty_csv_files_and_headers_without_rows_are_read(write, content, rows):
    path = write("a.csv", content)
    assert data.csv(path, pool=here).collect() == rows
    assert data.csv([path, path], pool=here, quoted_newlines=False).collect() == rows * 2


def test_a_csv_file_is_divided_where_quoted_fields_have_no_line_ends(write):
    path = write("a.csv", "n,word\n" + "".join(f'{i},"a ""word"""\n' for i in range(2000)))
    stream = data.csv(path, pool=here, types={"n": int}, quoted_newlines=False, split_bytes=1024)
    assert stream.map(lambda row: row.n).collect() == list(range(2000))
    bad = write("b.csv", "n\n" + "1\n" * 1500 + "x\n" + "1\n" * 500)
    with pytest.raises(data.BadRow, match=r"b\.csv, line 1502, column n: ValueError: invalid literal"):
        data.csv(bad, pool=here, types={"n": int}, quoted_newlines=False, split_bytes=1024).count()


@pytest.mark.parametrize(
    "content, message, left",
    [
        ("a,b\n1,2\n3\n5,6\n", "line 3: 1 fields where the header has 2", 2),
        ("a,b\n1,2\n3,4,5\n5,6\n", "line 3: 3 fields where the header has 2", 2),
        ('a,b\n"1\n2",2\n3\n5,6\n', "line 4: 1 fields", 2),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: no CSV: unexpected end of data", 1),
        ('a,b\n1,2\n3,"4"x\n5,6\n', "line 3: no CSV: ',' expected after '\"'", 2),
        ("a,b\n1,2\nx,4\n5,6\n", "line 3, column a: ValueError", 2),
    ],
)
def test_a_bad_row_of_csv_names_file_line_and_column(write, content, message, left):
    stream = data.csv(write("a.csv", content), pool=here, types={"a": float} if "x,4" in content else None)
    with pytest.raises(data.BadRow) as raised:
        stream.collect()
    assert f"a.csv, {message}" in str(raised.value)
    rows, errors = stream.options(on_error="collect").collect()
    assert len(rows) == left and [str(error) for error in errors] == [str(raised.value)]


def test_csv_files_with_other_columns_are_refused_unless_the_columns_are_named(write, tmp_path):
    write("a.csv", "a,b\n1,2\n")
    write("b.csv", "b,a,c\n3,4,5\n")
    with pytest.raises(data.BadRow, match=r"b\.csv, line 1: the columns are b, a, c; those of the first"):
        data.csv(tmp_path, pool=here).collect()
    assert data.csv(tmp_path, pool=here, columns=["a"]).collect() == [("1",), ("4",)]
    with pytest.raises(data.BadRow, match=r"a\.csv, line 1: .*found no 'c'"):
        data.csv([tmp_path / "b.csv", tmp_path / "a.csv"], pool=here, columns=["c"]).collect()
    with pytest.raises(UsageError, match=r"has no column 'x'; its columns are a, b"):
        data.csv(tmp_path / "a.csv", pool=here, columns=["x"]).collect()


# -- JSON Lines --------------------------------------------------------------------------------


def test_each_line_of_json_is_a_row_and_a_bad_one_is_named(write):
    path = write("a.jsonl", '{"a": 1}\n\n[2]\n{"a": nonsense}\n"é"')
    stream = data.json_lines(path, pool=here)
    with pytest.raises(data.BadRow, match=r"a\.jsonl, line 4, column 7: no JSON: Expecting value"):
        stream.collect()
    assert stream.options(on_error="skip").collect() == [{"a": 1}, [2], "é"]
    assert data.json_lines(write("b.jsonl", ""), pool=here).collect() == []
    rows = [{"k": i % 3, "v": i} for i in range(200)]
    path = write("c.jsonl", "\n".join(map(json.dumps, rows)))
    grouped = data.json_lines(path, pool=here, split_bytes=1024).group_by("k", into=data.sum("v"))
    assert grouped.collect(dict) == {k: sum(range(k, 200, 3)) for k in range(3)}


# -- Parquet and IPC ---------------------------------------------------------------------------


@pytest.fixture
def table():
    pa = pytest.importorskip("pyarrow")
    n = 1000
    return pa.table(
        {
            "user": [f"u{i % 7}" for i in range(n)],
            "ms": pa.array([None if i % 10 == 0 else i for i in range(n)], pa.int64()),
            "at": [i / 2 for i in range(n)],
        }
    )


@pytest.fixture(params=["parquet", "ipc"])
def columnar(request, table, tmp_path):
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
    for i in range(2):
        path = str(tmp_path / f"part{i}.{request.param}")
        if request.param == "parquet":
            parquet.write_table(table.slice(500 * i, 500), path, row_group_size=100)
        else:
            feather.write_feather(table.slice(500 * i, 500), path)
    options = {"split_bytes": 4000} if request.param == "parquet" else {}
    return getattr(data, request.param)(tmp_path, pool=here, **options)


def test_columnar_files_give_records(columnar, table):
    rows = columnar.collect()
    assert [row._asdict() for row in rows] == table.to_pylist()
    assert columnar.select("at", "user").take(1).collect() == [(0.0, "u0")]
    long = columnar.filter((data.col("ms") > 500) & ~(data.col("user") == "u3"))
    expected = [row for row in rows if row.ms is not None and row.ms > 500 and row.user != "u3"]
    assert long.collect() == expected and "where ((ms > 500) & ~(user == 'u3'))" in long.explain()
    assert long.select("ms").map(lambda row: row[0]).sum() == sum(row.ms for row in expected)
    assert columnar.select("ms").filter(data.col("ms") > 990).count() == 9


def test_arrow_aggregates_columns_to_the_same_results_as_rows(columnar):
    sinks = (
        data.count(), data.mean("ms"), data.sum("at"), data.stddev("at"), data.min("user"), data.max("ms"),
    )  # fmt: skip
    of_rows = columnar.filter(lambda row: True)
    assert columnar.fork(*sinks) == pytest.approx(of_rows.fork(*sinks))
    for sink in sinks:
        assert columnar.pipe(sink) == pytest.approx(of_rows.pipe(sink))
    grouped, grouped_rows = (
        stream.group_by("user", into=data.fork(*sinks)).collect(dict) for stream in (columnar, of_rows)
    )
    assert grouped.keys() == grouped_rows.keys()
    assert all(grouped[user] == pytest.approx(grouped_rows[user]) for user in grouped)
    nothing = columnar.filter(data.col("ms") > 10**6)
    assert nothing.fork(*sinks) == (0, None, 0, None, None, None)
    assert nothing.group_by("user", into=data.count()).collect() == []


def test_a_missing_column_is_named(columnar):
    with pytest.raises(data.UnreadableFile, match="columns user, ms, at; found no 'nonsense'"):
        columnar.select("nonsense").collect()
    for wrong in (columnar.mean, columnar.sum):
        with pytest.raises(data.BadRow, match="nonsense"):
            wrong("nonsense")


def test_functions_receive_batches_unchanged(columnar, table):
    pc = pytest.importorskip("pyarrow.compute")
    doubled = columnar.map_batches(lambda t: t.append_column("twice", pc.multiply(t["at"], 2)), n=30)
    assert [row.twice for row in doubled] == [2 * row.at for row in columnar]
    assert columnar.map_batches(len, format="list", n=100).options(on_error="skip") is not None
    sizes = columnar.select("ms").map_batches(lambda rows: [len(rows)], format="list", n=30).collect()
    assert sum(sizes) == 1000 and max(sizes) == 30


def test_parquet_files_that_lack_a_column_are_read_and_other_types_refused(tmp_path, table):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table.select(["ms"]).slice(1, 2), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"x": [5]}), tmp_path / "b.parquet")
    assert data.parquet(tmp_path, pool=here).collect() == [(1,), (2,), (None,)]
    parquet.write_table(pa.table({"ms": ["text"]}), tmp_path / "c.parquet")
    with pytest.raises(data.UnreadableFile, match=r"c\.parquet cannot be read"):
        data.parquet(tmp_path, pool=here).collect()


def test_a_truncated_empty_or_invalid_parquet_file_is_refused(tmp_path, table):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"plain text, and some more of it"):
        path.write_bytes(content)
        for read in (data.parquet, data.ipc):
            with pytest.raises(data.UnreadableFile, match=r"a\.parquet cannot be read"):
                read(path, pool=here).options(on_error="skip").collect()


def test_a_damaged_row_group_is_named(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    values = [hex(x * 0x9E3779B97F4A7C15 % 2**64) for x in range(3000)]
    parquet.write_table(pa.table({"x": values}), path, row_group_size=1000, use_dictionary=False)
    at = parquet.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)
    stream = data.parquet(path, split_bytes=2000, pool=here)
    message = r"a\.parquet cannot be read: .* in the row groups 2 to 2, which begin with row 2,001\."
    assert stream.count() == 3000  # no column is read
    with pytest.raises(data.UnreadableFile, match=message):
        stream.collect()
