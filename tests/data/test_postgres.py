"""Tables of a real PostgreSQL: read in splits of one snapshot, and written completely or not at all."""

import threading
from datetime import date, datetime, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from cmpi import data
from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.postgres import connected
from cmpi.data.sources.postgres_rows import PostgresRows
from cmpi.errors import UsageError
from tests.data.postgres_server import INITDB, MISSING, server

pytestmark = pytest.mark.slow

pa = pytest.importorskip("pyarrow")
pytest.importorskip("adbc_driver_postgresql")
if INITDB is None:
    pytest.skip(MISSING, allow_module_level=True)
here = data.Serial()


@pytest.fixture(scope="module")
def uri():
    with server() as uri:
        yield uri


@pytest.fixture
def sql(uri):
    """Runs statements, and returns the rows of the last one. The tables of a test end with it."""

    def run(*statements):
        with connected(DatabaseUri(uri)) as connection:
            found = [connection.execute(statement) for statement in statements][-1]
            connection.commit()
            return [tuple(row.values()) for row in found.to_pylist()]

    yield run
    run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@pytest.fixture
def read(uri):
    return lambda *args, **options: data.postgres(uri, *args, pool=here, **options)


@pytest.fixture
def events(sql):
    sql(
        "CREATE TABLE events AS SELECT i AS id, i % 7 AS kind, i * 0.5::float8 AS ms, 'é' || i AS url,"
        " '2024-01-01'::date + i / 100 AS day, '2024-01-01'::timestamptz + i * interval '1 minute' AS at"
        " FROM generate_series(1, 5000) AS i"
    )


def splits_of(uri, *args):
    with PostgresRows(DatabaseUri(uri), *args).session() as splits:
        return [sum(batch.num_rows for batch in split.batches()) for split in splits]


def test_a_table_is_read_by_its_blocks_as_rows_and_as_columns(uri, read, events):
    table = read("events", splits=5)
    rows = table.collect()
    assert rows[0]._fields == ("id", "kind", "ms", "url", "day", "at")
    assert sorted(row.id for row in rows) == list(range(1, 5001))
    assert rows[0][1:] == (1, 0.5, "é1", date(2024, 1, 1), datetime(2024, 1, 1, 0, 1, tzinfo=timezone.utc))
    assert table.mean("ms") == 1250.25 and table.count() == 5000
    by_kind = dict(table.group_by("kind", into=data.count()).collect())
    assert by_kind == {kind: 715 - (kind in (0, 3, 4, 5, 6)) for kind in range(7)}
    assert table.select("id", "url").take(2).collect() == [(1, "é1"), (2, "é2")]
    assert table.map_batches(lambda batch: [batch.num_rows]).sum() == 5000
    sizes = splits_of(uri, "events", False, None, 5)
    assert len(sizes) == 5 and sum(sizes) == 5000 and all(sizes)
    assert splits_of(uri, "events", False, None, None) == [5000]
    assert sum(splits_of(uri, "public.events", False, None, 10_000)) == 5000


@pytest.mark.parametrize("column", ["id", "ms", "day", "at", "exact", "small"])
def test_ranges_of_a_column_hold_each_row_once(uri, sql, events, column):
    sql(
        "ALTER TABLE events ADD COLUMN exact numeric, ADD COLUMN small smallint",
        "UPDATE events SET exact = id * 1.25, small = id",
        f"UPDATE events SET {column} = NULL WHERE id <= 3",
    )
    sizes = splits_of(uri, "events", False, column, 7)
    assert sum(sizes) == 5000 and len(sizes) == 7 and min(sizes) > 300


@pytest.mark.parametrize(
    "query, sizes",
    [
        ("SELECT NULL::int AS x", [1]),
        ("SELECT 1 AS x WHERE false", [0]),
        ("SELECT 5 AS x FROM generate_series(1, 4)", [0, 4]),
        ("SELECT x FROM (VALUES (-9223372036854775808), (9223372036854775807)) AS v (x)", [1, 0, 1]),
        ("SELECT x FROM (VALUES ('-Infinity'::float8), (0), ('NaN'), (NULL)) AS v (x)", [3, 1]),
        ("SELECT 1 AS x -- a comment", [0, 1]),
    ],
)
def test_ranges_cover_columns_with_few_or_extreme_values(uri, query, sizes):
    assert splits_of(uri, query, True, "x", 3) == sizes


def test_every_postgres_type_is_read_as_documented(read, sql):
    sql(
        "CREATE TABLE kinds AS SELECT 1::int2 AS i2, 2::int8 AS i8, 1.5::numeric(10, 2) AS price,"
        " 2.50::numeric AS exact, true AS yes, '\\x00ff'::bytea AS bytes, ARRAY[1, NULL] AS list,"
        " '{\"a\": 1}'::jsonb AS doc, inet '10.0.0.1' AS ip, NULL::text AS nothing,"
        " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS id"
    )
    (row,) = read("kinds")
    assert row[:5] == (1, 2, Decimal("1.50"), "2.50", True)
    assert row[5:10] == (b"\x00\xff", [1, None], '{"a": 1}', "10.0.0.1/32", None)
    assert row.id in (UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), UUID(int=row.id.int))
    assert read("kinds").sum("price") == Decimal("1.50")


def test_queries_views_partitions_and_unusual_names_can_be_read(read, sql):
    sql(
        'CREATE TABLE "Odd ""name" AS SELECT 1 AS "a b", 2 AS "c.d"',
        'CREATE VIEW v AS SELECT "c.d" + 1 AS n FROM "Odd ""name"',
        "CREATE TABLE parts (x int) PARTITION BY RANGE (x)",
        "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (1000)",
        "CREATE TABLE high PARTITION OF parts FOR VALUES FROM (1000) TO (5000)",
        "INSERT INTO parts SELECT generate_series(0, 4999)",
        "CREATE TABLE empty (x int)",
    )
    assert read('SELECT * FROM "Odd ""name"').select("c.d", "a b").collect() == [(2, 1)]
    assert read("v").collect() == [(3,)]
    assert read("parts", splits=4).count() == 5000 and read("parts", splits=4).sum("x") == sum(range(5000))
    assert read("empty").collect() == [] and read("empty").map_batches(len).collect() == []


def test_all_splits_see_the_database_as_it_was_when_the_run_began(read, sql, events):
    def change(row):
        if row.id == 1:
            sql("DELETE FROM events WHERE id > 2500", "INSERT INTO events (id) VALUES (-1)")
        return row.id

    assert read("events", splits=8).map(change).collect() == list(range(1, 5001))
    assert read("events").count() == 2501


def test_a_wrong_source_is_refused_with_the_reason(uri, read, sql, events):
    with pytest.raises(data.DatabaseError, match=r"ada:\*\*\*@.*relation \"nothing\" does not exist"):
        read("nothing").count()
    with pytest.raises(data.DatabaseError, match="division by zero"):
        read("SELECT 1 / (id - 4000) AS x FROM events").options(on_error="skip").count()
    with pytest.raises(UsageError, match=r"has no column 'x'; its columns are id, kind"):
        read("events", split_by="x").count()
    with pytest.raises(UsageError, match=r"has no column 'x'"):
        read("events").select("x").collect()
    with pytest.raises(UsageError, match="'url' has the type text"):
        read("events", split_by="url").count()
    with pytest.raises(UsageError, match="splits must be a number"):
        read("events", splits=0)
    with pytest.raises(data.BadRow, match=r"postgres events: ZeroDivisionError") as failed:
        read("events").map(lambda row: 1 / 0).count()
    rows, errors = read("events").map(lambda row: 1 / (row.id - 9)).options(on_error="collect").count()
    assert rows == 4999 and len(errors) == 1
    others = "SELECT count(*) FROM pg_stat_activity WHERE state IS NOT NULL AND pid != pg_backend_pid()"
    while sql(others) != [(0,)]:  # no connection is left, though `failed` keeps the traceback
        assert failed.value


def test_passwords_are_shown_nowhere(uri, read):
    wrong = uri.replace("s3cret", "wr0ng")
    stream = data.postgres(wrong, "events", pool=here)
    shown = [stream.explain(), repr(stream), repr(stream._node)]
    for failing in (stream.count, lambda: data.of([1], pool=here).write_postgres(wrong, "t")):
        with pytest.raises(data.DatabaseError, match="password authentication failed") as raised:
            failing()
        error = raised.value
        while error is not None:
            shown += [str(error), repr(error)]
            error = error.__cause__ or error.__context__
    assert not [text for text in shown if "wr0ng" in text] and "ada:***@/postgres" in shown[0]


# -- writing -----------------------------------------------------------------------------------


def of(rows):
    return data.of(rows, pool=here)


def test_written_rows_are_read_back(uri, read, sql):
    rows = [{"x": x, "text": f"a,\n{x}", "half": x / 2, "none": None} for x in range(300)]
    assert of(rows).write_postgres(uri, "t") == 300
    assert sorted(read("t").collect()) == [tuple(row.values()) for row in rows]
    assert read("t", splits=3).write_postgres(uri, "public.copy") == 300
    assert sql("SELECT count(*), sum(x) FROM copy") == [(300, str(sum(range(300))))]
    with pytest.raises(UsageError, match=r"the table t exists; pass mode='append' or"):
        of(rows).write_postgres(uri, "t")
    with pytest.raises(UsageError, match="there is no table u to append to"):
        of(rows).write_postgres(uri, "u", mode="append")
    with pytest.raises(UsageError, match="mode must be one of create, append, replace"):
        of(rows).write_postgres(uri, "u", mode="add")
    assert of([{"x": "new"}]).write_postgres(uri, "t", mode="replace") == 1
    assert read("t").collect() == [("new",)]
    assert of([{"y": 1}]).write_postgres(uri, "public.u", mode="replace") == 1


def test_appended_rows_get_the_types_of_the_table(uri, read, sql):
    sql("CREATE TABLE t (id int DEFAULT 7, price numeric(6, 2), code varchar(3), at timestamptz, n bigint)")
    same = of([{"n": 1}, {"n": 2}])
    assert same.write_postgres(uri, "t", mode="append") == 2
    other = of([{"code": "abc", "price": 1.239, "at": "2024-01-02 03:04:05+00", "id": 5}])
    assert other.write_postgres(uri, "t", mode="append") == 1
    at = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert read("t").collect() == [
        (7, None, None, None, 1),
        (7, None, None, None, 2),
        (5, Decimal("1.24"), "abc", at, None),
    ]
    before = sql("SELECT count(*) FROM t")
    for row, error in (
        ({"code": "abcd"}, "value too long"),
        ({"id": 1 << 40}, "integer out of range"),
        ({"at": "never"}, "invalid input syntax"),
    ):
        with pytest.raises(data.DatabaseError, match=error):
            of([{"n": 5}] * 64 + [row]).write_postgres(uri, "t", mode="append")
    with pytest.raises(UsageError, match="t has no column 'x'; its columns are id, price"):
        of([{"x": 5}]).write_postgres(uri, "t", mode="append")
    assert sql("SELECT count(*) FROM t") == before


def test_missing_values_and_empty_streams_are_written(uri, read, sql):
    assert of([{"a": 1}] * 64 + [{"b": "x", "a": 2.5}] * 64).write_postgres(uri, "t") == 128
    assert read("SELECT a, b FROM t ORDER BY a DESC LIMIT 1").collect() == [(2.5, "x")]
    with pytest.raises(UsageError, match=r"there are no rows .* columns of u; pass schema="):
        of([]).write_postgres(uri, "u")
    schema = pa.schema([("x", pa.int16())])
    assert of([]).write_postgres(uri, "u", schema=schema) == 0
    assert of([{"x": 1}]).write_postgres(uri, "u", mode="replace", schema=schema) == 1
    assert of([]).write_postgres(uri, "u", mode="append") == 0
    assert sql("SELECT pg_typeof(x)::text FROM u") == [("smallint",)]


def test_a_stream_that_fails_or_is_interrupted_changes_nothing(uri, read, sql, tmp_path):
    sql("CREATE TABLE t AS SELECT 1::bigint AS x")
    for error in (ValueError, KeyboardInterrupt):

        def fails(x, error=error):
            if x == 40:
                raise error("no")
            return {"x": x}

        for mode in ("append", "replace"):
            stream = of(range(64)).map(fails).options(spill_folder=str(tmp_path))
            with pytest.raises((data.BadRow, KeyboardInterrupt)):
                stream.write_postgres(uri, "t", mode=mode)
    assert sql("SELECT * FROM t") == [(1,)] and not list(tmp_path.iterdir())
    assert sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    rows, errors = (
        of(range(64))
        .map(lambda x: {"x": 1 // x})
        .options(on_error="collect")
        .write_postgres(uri, "t", mode="append")
    )
    assert rows == 63 and len(errors) == 1


def test_readers_see_the_former_table_until_the_new_one_is_complete(uri, sql):
    """A trigger holds the insertion up while another connection reads."""
    sql(
        "CREATE TABLE t AS SELECT 1::bigint AS x",
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END'",
        "CREATE TRIGGER hold BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION hold()",
    )
    with connected(DatabaseUri(uri)) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(1)::text")
        writing = threading.Thread(
            target=of([{"x": 2}, {"x": 3}]).write_postgres, args=(uri, "t"), kwargs={"mode": "append"}
        )
        writing.start()
        while sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == [(0,)]:
            pass
        assert sql("SELECT x FROM t") == [(1,)]
    writing.join()
    assert sql("SELECT x FROM t ORDER BY x") == [(1,), (2,), (3,)]
