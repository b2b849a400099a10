"""CSV that pyarrow reads in columns: it gives the same values as Python's own reader, which takes over if
they would differ."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
here = data.Serial()
few = settings(max_examples=settings.default.max_examples // 2)
TYPES = {"n": int, "x": float}
fields = st.tuples(
    st.one_of(st.just(""), st.integers(-9, 9).map(str), st.sampled_from(["1_000", " 7", "9" * 30])),
    st.one_of(st.just(""), st.floats(-5, 5).map(str), st.sampled_from(["nan", "inf", "1e3"])),
    st.text(st.sampled_from('a,";é '), max_size=4),
)


@pytest.fixture
def columns_only(monkeypatch):
    """Make Python's CSV reader unusable: it must not be needed."""
    monkeypatch.setattr("cmpi.data.sources.csv_files.CsvPart.rows", None)


def text_of(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("n", "x", "word"), *rows])
    return text.getvalue()


@few
@given(st.lists(fields, max_size=20), st.booleans())
def test_columns_have_the_values_of_rows(tmp_path_factory, rows, one_split):
    folder = tmp_path_factory.mktemp("csv")
    (folder / "a.csv").write_text(text_of(rows * 9))
    stream = data.csv(folder, types=TYPES, quoted_newlines=one_split, split_bytes=1024, pool=here)
    by_rows = list(map(repr, stream.filter(lambda row: True)))
    by_columns = stream.map_batches(list, format="list")
    assert list(map(repr, by_columns)) == by_rows
    assert stream.count() == len(by_rows) == 9 * len(rows)
    sinks = data.fork(data.count(), data.sum("n"))
    groups = [each.group_by("word", into=sinks).collect(dict) for each in (stream, stream.filter(bool))]
    assert groups[0] == groups[1]


def test_counts_sums_and_files_are_made_of_columns(tmp_path, columns_only):
    (tmp_path / "a.csv").write_text(text_of([(i, i / 2, f"w{i % 3}") for i in range(500)]))
    (tmp_path / "b.csv").write_text("n,x,word\n")
    (tmp_path / "c.csv").write_text("\ufeffn,x,word\r\n7,,é\r\n\r\n")
    stream = data.csv(tmp_path, types=TYPES, quoted_newlines=False, split_bytes=1024, pool=here)
    assert stream.fork(data.count(), data.sum("n"), data.max("x")) == (501, 124757, 249.5)
    assert stream.select("word").group_by("word", into=data.count()).collect(dict)["é"] == 1
    manifest = stream.select("n", "word").write_parquet(tmp_path / "out", rows_per_file=40)
    assert manifest.rows == 501 and {each.rows for each in manifest.files} >= {40, 1}
    assert max(each.rows for each in manifest.files) == 40
    table = parquet.read_table(tmp_path / "out")
    assert table.schema.names == ["n", "word"] and table.num_rows == 501
    assert table.column("n").to_pylist() == [*range(500), 7]


def test_a_split_with_a_value_that_only_python_parses_is_read_by_rows(tmp_path):
    (tmp_path / "a.csv").write_text(text_of([(1, 1, "a"), ("2_000", 1, "b")]))
    stream = data.csv(tmp_path, types=TYPES, pool=here)
    assert stream.sum("n") == 2001
    manifest = stream.write_parquet(tmp_path / "out")
    assert manifest.rows == 2 and parquet.read_table(tmp_path / "out").column("n").to_pylist() == [1, 2000]


@pytest.mark.parametrize("use", ["sum", "write", "batches"])
def test_a_bad_value_is_reported_as_it_is_when_reading_by_rows(tmp_path, use):
    (tmp_path / "a.csv").write_text(text_of([*((i, 1, "") for i in range(700)), ("none", 1, "")]))
    stream = data.csv(tmp_path, types=TYPES, quoted_newlines=False, split_bytes=1024, pool=here)
    run = {
        "sum": lambda stream: stream.sum("n"),
        "write": lambda stream: stream.write_parquet(tmp_path / "out"),
        "batches": lambda stream: stream.map_batches(list, format="list").count(),
    }[use]
    with pytest.raises(data.BadRow, match=r"a\.csv, line 702, column n: ValueError: invalid literal"):
        run(stream)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    result, errors = stream.options(on_error="collect").fork(data.count(), data.sum("n"))
    assert result == (700, sum(range(700))) and [error.line for error in errors] == [702]


@pytest.mark.parametrize(
    "options",
    [{"types": {"n": bool}}, {"encoding": "latin-1"}, {"errors": "replace"}, {"types": {"word": str}}],
)
def test_files_that_pyarrow_would_read_differently_are_read_by_rows(tmp_path, options):
    (tmp_path / "a.csv").write_text("n,word\n1,\n0,b\n", encoding="ascii")
    stream = data.csv(tmp_path, pool=here, **options)
    rows = stream.map_batches(list, format="list").collect()
    assert rows == stream.collect()
    kinds = options.get("types", {})
    assert rows[1].n is (bool("0") if "n" in kinds else rows[1].n) and rows[0].word == (
        None if kinds.get("word") else ""
    )
