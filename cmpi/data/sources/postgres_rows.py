"""The rows of a PostgreSQL table or query, divided by blocks of the table or ranges of a column.

All splits are read from one snapshot, which a transaction of the process that runs the stream keeps until
the run ends, so rows that others change meanwhile are neither missed nor read twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.extras import pyarrow
from cmpi.data.postgres import Database, connected, literal, quoted, quoted_table
from cmpi.data.sources.columnar import records
from cmpi.data.sources.reading import Place, Reading
from cmpi.errors import UsageError

SPLIT_BYTES = 32 << 20  # of a table
SPLITS = 16  # by ranges of a column

# By type: the i-th of n bounds between the least value `lo` and the greatest `hi`.
FRACTION = "(i::float8 / n)"
BOUNDS = {
    **dict.fromkeys(("smallint", "integer", "bigint"), "floor(lo::numeric + (hi::numeric - lo) * i / n)"),
    **dict.fromkeys(("real", "double precision"), f"lo * (1 - {FRACTION}) + hi * {FRACTION}"),
    "numeric": "lo + (hi - lo) * i / n",
    "date": "lo + ((hi - lo)::bigint * i / n)::integer",
    **dict.fromkeys(
        ("timestamp without time zone", "timestamp with time zone"), f"lo + (hi - lo) * {FRACTION}"
    ),
}


@dataclass(frozen=True)
class PostgresColumn:
    """A column: the expression that selects it, and its type in the batches."""

    name: str
    select: str
    type: Any


@dataclass(frozen=True)
class PostgresPart:
    """A split: the rows for which a condition is true."""

    uri: DatabaseUri
    name: str  # of the table, or the query
    relation: str
    every: tuple[PostgresColumn, ...]
    columns: tuple[str, ...] | None
    condition: str
    snapshot: str
    nbytes: int = 0
    columnar: ClassVar[bool] = True  # it has `batches`

    @property
    def schema(self) -> Any:
        """The types of all columns."""
        return pyarrow().schema([(column.name, column.type) for column in self.every])

    def batches(self, columns: tuple[str, ...] | None = None) -> Iterator[Any]:
        """Yield record batches, by default of the columns that were selected. Raises: DatabaseError."""
        by_name = {column.name: column for column in self.every}
        names = columns if columns is not None else self.columns
        chosen = self.every if names is None else tuple(by_name[name] for name in names)
        select = ", ".join(column.select for column in chosen) or "1"  # some column, for the number of rows
        schema = pyarrow().schema([(column.name, column.type) for column in chosen])
        with connected(self.uri) as connection:
            begin(connection)
            connection.execute(f"SET TRANSACTION SNAPSHOT {literal(self.snapshot)}")
            for batch in connection.batches(f"SELECT {select} FROM {self.relation} WHERE {self.condition}"):
                yield _typed(batch, schema)

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the records."""

        def place(i: int) -> Place:
            return f"postgres {self.name}", 0

        return reading.lists(map(records, reading.own(self.batches())), place)


def begin(connection: Database) -> None:
    """Make the transaction one that sees one state of the database."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(frozen=True)
class PostgresRows:
    """A table, or the result of a query."""

    uri: DatabaseUri
    name: str  # of the table, or the query
    is_query: bool
    split_by: str | None
    n: int | None
    columns: tuple[str, ...] | None = None

    @property
    def _relation(self) -> str:
        return (
            f"({self.name.rstrip().rstrip(';')}\n) AS query" if self.is_query else quoted_table(self.name)
        )

    @contextmanager
    def session(self) -> Iterator[list[PostgresPart]]:
        """Yield the splits; they can be read until the block is left. Blocks: for the database."""
        with connected(self.uri) as connection:
            begin(connection)
            (snapshot,) = connection.values("SELECT pg_export_snapshot()")
            schema = connection.execute(f"SELECT * FROM {self._relation} LIMIT 0").schema
            for name in (*(self.columns or ()), *([self.split_by] if self.split_by else ())):
                if name not in schema.names:
                    raise UsageError(
                        f"{self.describe()} has no column {name!r}; "
                        f"its columns are {', '.join(schema.names)}"
                    )
            conditions, nbytes = self._conditions(connection)
            whole = PostgresPart(
                self.uri,
                self.name,
                self._relation,
                tuple(map(_column, schema)),
                self.columns,
                "true",
                snapshot,
                nbytes // len(conditions),
            )
            yield [replace(whole, condition=condition) for condition in conditions]

    def _conditions(self, connection: Database) -> tuple[list[str], int]:
        """Conditions of which each row meets one, and the size of the table in bytes, if it is known."""
        if self.split_by is not None:
            return self._by_column(connection, self.split_by), 0
        if self.is_query:
            return ["true"], 0
        name = f"{literal(quoted_table(self.name))}::regclass"
        sizes = connection.execute(
            "SELECT max(pg_relation_size(part)) / current_setting('block_size')::bigint AS blocks,"
            " sum(pg_relation_size(part))::bigint AS bytes,"
            " bool_and(relkind IN ('r', 'm', 'p')) AS in_blocks"
            f" FROM (SELECT {name} UNION SELECT relid FROM pg_partition_tree({name})) AS parts (part)"
            " JOIN pg_class ON pg_class.oid = part",
        ).to_pylist()[0]
        blocks, nbytes = sizes["blocks"] or 0, sizes["bytes"] or 0
        n = min(blocks, self.n or -(-nbytes // SPLIT_BYTES)) if sizes["in_blocks"] else 1
        return _ranges("ctid", "tid", [f"({blocks * i // n},0)" for i in range(1, n)]), nbytes

    def _by_column(self, connection: Database, column: str) -> list[str]:
        name, relation = quoted(column), self._relation
        kinds = connection.values(
            f"SELECT pg_typeof({name})::text FROM (SELECT NULL) AS one LEFT JOIN"
            f" (SELECT {name} FROM {relation} LIMIT 1) AS first ON true",
        )
        bound = BOUNDS.get(kinds[0])
        if bound is None:
            raise UsageError(
                "split_by must name a column of numbers, dates or timestamps; "
                f"{column!r} has the type {kinds[0]}"
            )
        found = connection.values(
            f"SELECT ({bound})::text FROM (SELECT min({name}) AS lo, max({name}) AS hi FROM {relation})"
            f" AS ends, (VALUES ({self.n or SPLITS})) AS number (n), generate_series(1, n - 1) AS i"
            " ORDER BY i",
        )
        return _ranges(name, kinds[0], [each for each in dict.fromkeys(found) if each is not None])

    def splits(self) -> Any:
        """Not used: the splits exist only within a `session`."""
        raise NotImplementedError

    def select(self, names: tuple[str, ...]) -> PostgresRows | None:
        """The same reader restricted to these columns."""
        if self.columns is not None and not set(names) <= set(self.columns):
            return None
        return replace(self, columns=names)

    def where(self, condition: Any) -> None:
        """Return None: texts have another order in the database than in Python."""
        return

    def describe(self) -> str:
        """The source as plans show it."""
        columns = "" if self.columns is None else f": {', '.join(self.columns)}"
        by = "" if self.split_by is None else f" by {self.split_by}"
        return f"postgres {self.uri} {self.name}{by}{columns}"


def _ranges(column: str, kind: str, bounds: list[str]) -> list[str]:
    """Conditions for the rows below the first bound, between two bounds, and from the last bound on.

    >>> _ranges("x", "integer", ["5"])
    ["x < '5'::integer OR x IS NULL", "x >= '5'::integer"]
    >>> _ranges("x", "integer", [])
    ['true']
    """
    if not bounds:
        return ["true"]
    at = [f"{literal(bound)}::{kind}" for bound in bounds]
    first = f"{column} < {at[0]}" + ("" if column == "ctid" else f" OR {column} IS NULL")
    between = [f"{column} >= {low} AND {column} < {high}" for low, high in pairwise(at)]
    return [first, *between, f"{column} >= {at[-1]}"]


def _column(field: Any) -> PostgresColumn:
    """The column for a field that ADBC describes. Numbers with a fixed precision become decimals; types
    that Arrow does not have become text."""
    arrow = pyarrow()
    name, kind = quoted(field.name), field.type
    if getattr(kind, "extension_name", "") == "arrow.json":
        return PostgresColumn(field.name, name, kind.storage_type)
    if getattr(kind, "extension_name", "") != "arrow.opaque":
        return PostgresColumn(field.name, name, kind)
    if kind.type_name == "numeric":
        # The precision is in the upper 16 bits, the scale in the lower 11.
        modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1")) - 4
        precision, scale = modifier >> 16, modifier & 0x7FF
        if modifier >= 0 and precision <= 38 and scale <= precision:
            return PostgresColumn(field.name, f"{name}::text AS {name}", arrow.decimal128(precision, scale))
    return PostgresColumn(field.name, f"{name}::text AS {name}", arrow.string())


def _typed(batch: Any, schema: Any) -> Any:
    """A batch with these columns and types."""
    arrow = pyarrow()
    if not schema.names:
        return batch.select([])
    columns = [
        getattr(column, "storage", column) if kind == getattr(column.type, "storage_type", None) else column
        for column, kind in zip(batch.columns, schema.types)
    ]
    return arrow.record_batch(
        [
            column if column.type == kind else column.cast(kind)
            for column, kind in zip(columns, schema.types)
        ],
        schema=schema,
    )
