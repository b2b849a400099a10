"""Writing streams: all or nothing, the same after a second attempt, and the manifest last."""

import json

import pytest

from cmpi import data
from cmpi.data.destinations.folder import write_split
from cmpi.data.destinations.formats import parts_of_rows, write_text
from cmpi.errors import UsageError

here = data.Serial()


def of(rows):
    return data.of(rows, pool=here)


def record(x):
    return {"x": x, "text": f"a,\n{x}"}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "ipc"])
def test_written_rows_are_read_back(tmp_path, form):
    if form in ("parquet", "ipc"):
        pytest.importorskip("pyarrow")
    stream = of(range(200)).map(record)
    manifest = getattr(stream, f"write_{form}")(tmp_path / "out", rows_per_file=2)
    written = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert manifest.rows == written["rows"] == 200 and written["format"] == form
    assert names_in(tmp_path / "out") == [
        "_manifest.json",
        *sorted(each["name"] for each in written["files"]),
    ]
    assert all((tmp_path / "out" / each.name).stat().st_size == each.nbytes for each in manifest.files)
    assert {each.rows for each in manifest.files} == {1, 2}
    if form == "csv":
        read = data.csv(tmp_path / "out", types={"x": int}, pool=here)
    else:
        read = {"json": data.json_lines, "parquet": data.parquet, "ipc": data.ipc}[form](
            tmp_path / "out", pool=here
        )
    rows = [(row["x"], row["text"]) if isinstance(row, dict) else tuple(row) for row in read]
    assert rows == [(x, f"a,\n{x}") for x in range(200)]
    again = getattr(read, f"write_{form}")(tmp_path / "again")
    assert again.rows == 200


def test_text_is_written_line_by_line(tmp_path):
    manifest = of(["a", "", "é"]).write_text(tmp_path / "out")
    assert [each.name for each in manifest.files] == [f"part-{i:05}-000.txt" for i in range(3)]
    assert data.text(tmp_path / "out", pool=here).collect() == ["a", "", "é"]
    with pytest.raises(data.BadRow, match="a row of text must not contain a line end"):
        of(["a\nb"]).write_text(tmp_path / "lines")
    with pytest.raises(data.BadRow, match="TypeError"):
        of([1]).write_text(tmp_path / "lines")
    with pytest.raises(data.BadRow, match="rows for CSV must be records or dicts; found a int: 1"):
        of([1]).write_csv(tmp_path / "lines")
    with pytest.raises(data.BadRow, match="expected the columns a; found b"):
        of(iter([{"a": 1}] * 9 + [{"b": 1}])).write_csv(tmp_path / "lines")
    assert names_in(tmp_path / "lines") == []


def test_an_empty_stream_writes_a_manifest_without_files(tmp_path):
    assert of([]).write_text(tmp_path).files == ()
    assert names_in(tmp_path) == ["_manifest.json"]


def test_a_failed_or_interrupted_stream_leaves_no_files(tmp_path):
    for error in (ValueError, KeyboardInterrupt):

        def fails(x, error=error):
            if x == 40:
                raise error("no")
            return str(x)

        with pytest.raises((data.BadRow, KeyboardInterrupt)):
            of(range(64)).map(fails).write_text(tmp_path / "out")
        assert names_in(tmp_path / "out") == []


def test_only_an_earlier_stream_is_replaced_and_only_if_asked(tmp_path):
    of(["a", "b", "c"]).write_text(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match=r"must be empty .*found _manifest\.json and 4 more"):
        of(["d"]).write_text(tmp_path)
    of(["d", "e"]).write_text(tmp_path, overwrite=True)
    assert names_in(tmp_path) == ["_manifest.json", "mine", "part-00000-000.txt", "part-00001-000.txt"]
    (tmp_path / "_manifest.json").write_text("[]")
    with pytest.raises(UsageError, match="was not written by cmpi"):
        of(["d"]).write_text(tmp_path, overwrite=True)


def test_a_second_attempt_writes_the_same_files(tmp_path):
    def attempt(rows):
        parts = (("k=1" if rows[0] == "a" else "", part) for part in parts_of_rows(iter(rows), 2))
        return write_split(parts, str(tmp_path), ".staged", 7, "txt", write_text)

    attempt(["half", "of", "it", "and", "more"])
    files = attempt(["a", "b", "c"])
    staged = tmp_path / ".staged" / "00007"
    assert names_in(staged) == ["k=1"] and names_in(staged / "k=1") == [
        "part-00007-000.txt",
        "part-00007-001.txt",
    ]
    assert [each.name for each in files] == ["k=1/part-00007-000.txt", "k=1/part-00007-001.txt"]
    assert (staged / files[1].name).read_text() == "c\n"


def test_parquet_has_the_types_of_the_schema(tmp_path):
    pa = pytest.importorskip("pyarrow")
    schema = pa.schema([("x", pa.int16())])
    of([{"x": 1}, {"x": None}]).write_parquet(tmp_path, schema=schema)
    read = data.parquet(tmp_path, pool=here)
    assert read.collect() == [(1,), (None,)]
    assert read.map_batches(lambda table: [str(table.schema.field("x").type)]).collect() == ["int16"] * 2
