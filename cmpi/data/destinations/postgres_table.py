"""Writes a stream to a PostgreSQL table, completely or not at all.

Tasks write files on disk, as for a folder; a task that is retried replaces its own files. When all have
ended, the process that runs the stream copies them into the database in one transaction. Staging tables
that tasks fill would be copied there once more, and would need cleaning up after a task whose worker died.
"""

from __future__ import annotations

import uuid
from typing import Any

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.extras import pyarrow
from cmpi.data.postgres import Database, connected, literal, quoted, quoted_table
from cmpi.errors import UsageError

MODES = ("create", "append", "replace")


class PostgresTable:
    """A table to write to.

    Args:
        table: Its name, or `schema.table`.
        mode: "create", "append" or "replace".
        schema: The pyarrow schema of the rows, or None.

    Raises:
        UsageError: The table exists, and `mode` is "create"; or it does not, and `mode` is "append".

    Blocks: for the database.
    """

    def __init__(self, uri: DatabaseUri, table: str, mode: str, schema: Any) -> None:
        if mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}; found {mode!r}")
        self._uri, self._table, self._mode, self.schema = uri, table, mode, schema
        with connected(uri) as connection:
            (exists,) = connection.values(f"SELECT to_regclass({literal(quoted_table(table))}) IS NOT NULL")
        if exists and mode == "create":
            raise UsageError(
                f"the table {table} exists; pass mode='append' or mode='replace' to write to it"
            )
        if not exists and mode == "append":
            raise UsageError(f"there is no table {table} to append to; mode='create' creates it")

    def insert(self, paths: list[str]) -> int:
        """Copy the rows of Parquet files into the table, in one transaction; return how many they are.
        Blocks: until they are there."""
        dataset, arrow = pyarrow("dataset"), pyarrow()
        if not paths and self._mode == "append":
            return 0
        if not paths and self.schema is None:
            raise UsageError(
                f"there are no rows from which to find the columns of {self._table}; pass schema="
            )
        schema = self.schema or arrow.unify_schemas(
            [pyarrow("parquet").read_schema(path) for path in paths], promote_options="permissive"
        )
        schema = schema.remove_metadata()
        files = dataset.dataset(paths, schema=schema, format="parquet") if paths else None
        rows = schema.empty_table() if files is None else files.scanner(use_threads=False).to_reader()
        with connected(self._uri) as connection:
            n = {"create": self._create, "replace": self._replace, "append": self._append}[self._mode](
                connection, rows
            )
            connection.commit()
        return n

    def _in_schema(self) -> dict[str, str]:
        schema = self._table.rpartition(".")[0]
        return {"db_schema_name": schema} if schema else {}

    def _create(self, connection: Database, rows: Any) -> int:
        return connection.ingest(self._table.rpartition(".")[2], rows, mode="create", **self._in_schema())

    def _replace(self, connection: Database, rows: Any) -> int:
        """Others see the former table until the transaction ends, and are kept out only at its end."""
        staging, (schema, _, table) = f"cmpi_{uuid.uuid4().hex}", self._table.rpartition(".")
        n = connection.ingest(staging, rows, mode="create", **self._in_schema())
        connection.execute(f"DROP TABLE IF EXISTS {quoted_table(self._table)}")
        staged = quoted_table(f"{schema}.{staging}" if schema else staging)
        connection.execute(f"ALTER TABLE {staged} RENAME TO {quoted(table)}")
        return n

    def _append(self, connection: Database, rows: Any) -> int:
        """Copy the rows as they are if the columns have their types; otherwise let the database convert
        them."""
        table = quoted_table(self._table)
        there = connection.execute(f"SELECT * FROM {table} LIMIT 0").schema
        for name in rows.schema.names:
            if name not in there.names:
                raise UsageError(
                    f"{self._table} has no column {name!r}; its columns are {', '.join(there.names)}"
                )
        if all(there.field(field.name).type == field.type for field in rows.schema):
            return connection.ingest(
                self._table.rpartition(".")[2], rows, mode="append", **self._in_schema()
            )
        staging = f"cmpi_{uuid.uuid4().hex}"
        n = connection.ingest(staging, rows, mode="create", temporary=True)
        # -1: without a length, because a cast to varchar(3) would cut longer texts without an error.
        kinds = connection.execute(
            "SELECT attname::text AS name, format_type(atttypid, -1) AS kind FROM pg_attribute"
            f" WHERE attrelid = {literal(table)}::regclass AND attnum > 0 AND NOT attisdropped",
        ).to_pylist()
        kind = {each["name"]: each["kind"] for each in kinds}
        names = [quoted(name) for name in rows.schema.names]
        cast = [f"{quoted(name)}::{kind[name]}" for name in rows.schema.names]
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(cast)}"
            f" FROM pg_temp.{quoted(staging)}",
        )
        return n
