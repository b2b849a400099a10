"""Connections to PostgreSQL by ADBC, which exchanges Arrow batches with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.errors import DatabaseError
from cmpi.data.extras import adbc_postgresql, pyarrow


@contextmanager
def connected(uri: DatabaseUri) -> Iterator[Any]:
    """Connect for the time of a block, in a transaction that is undone unless the block commits it.

    Raises:
        DatabaseError: For all errors of the database in the block; without the passwords of the uri.

    Blocks: for the database.
    """
    driver = adbc_postgresql()
    try:
        with driver.connect(uri.with_secrets) as connection:
            yield connection
    except (driver.Error, pyarrow().ArrowException, OSError) as error:  # a reader of batches has Arrow's
        if isinstance(error, DatabaseError):
            raise
        error.args = (uri.hide(str(error)),)
        raise DatabaseError(str(uri), " ".join(error.args[0].split())) from error


def execute(connection: Any, statement: str) -> Any:
    """Execute a statement, and return its result as an Arrow table. Blocks: for the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetch_arrow_table()


def values(connection: Any, query: str) -> list[Any]:
    """The first column of a query's result. Blocks: for the database."""
    found: list[Any] = execute(connection, query).column(0).to_pylist()
    return found


def quoted(name: str) -> str:
    """A name as an identifier.

    >>> quoted("my column")
    '"my column"'
    """
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """The name of a table, or `schema.table`, as one or two identifiers.

    >>> quoted_table("public.events")
    '"public"."events"'
    """
    return ".".join(map(quoted, name.split(".")))


def literal(text: str) -> str:
    """Text as a string constant.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
