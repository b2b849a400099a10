"""TPC-H's queries: `cmpi.data` finds what DuckDB and Polars find."""

import pytest

from cmpi import data

pytest.importorskip("pyarrow")

from tests.data import tpch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tpch")
    tpch.generate(folder)
    return folder


def same(rows, expected):
    """Whether these are the same rows: numbers with a fraction may differ by rounding."""
    assert len(expected) and len(rows) == len(expected)
    for row, other in zip(rows, expected):
        assert tuple(row) == tuple(pytest.approx(x) if isinstance(x, float) else x for x in other)
    return True


@pytest.mark.parametrize("number", tpch.QUERIES)
def test_tpch_results_equal_those_of_duckdb(folder, number):
    connection = pytest.importorskip("duckdb").connect()
    for each in folder.iterdir():
        connection.execute(f"create view {each.name} as select * from '{each}/*.parquet'")
    found = tpch.QUERIES[number](tpch.Tables(folder, pool=data.Serial()))
    assert same(found, connection.execute(tpch.SQL[number]).fetchall())


@pytest.mark.parametrize("number", tpch.QUERIES)
def test_tpch_results_equal_those_of_polars_even_if_everything_is_spilled(folder, number):
    polars = pytest.importorskip("polars")
    tables = {each.name: polars.scan_parquet(each) for each in folder.iterdir()}
    found = tpch.QUERIES[number](tpch.Tables(folder, pool=data.Serial(), memory="64 KiB", partitions=3))
    assert same(found, polars.SQLContext(tables).execute(tpch.SQL[number]).collect().rows())
