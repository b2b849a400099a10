"""Connections to PostgreSQL by ADBC, which exchanges Arrow batches with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.errors import DatabaseError
from cmpi.data.extras import adbc_postgresql, pyarrow


class Database:
    """A connection with an open transaction. All methods block for the database; Ctrl-C cancels there what
    they do, and raises KeyboardInterrupt."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str) -> Any:
        """Execute a statement, and return its result as an Arrow table."""
        with self._cursor() as cursor:
            _beside_main(partial(cursor.execute, statement), cursor.adbc_cancel)
            return _beside_main(cursor.fetch_arrow_table, cursor.adbc_cancel)

    def values(self, query: str) -> list[Any]:
        """The first column of a query's result."""
        found: list[Any] = self.execute(query).column(0).to_pylist()
        return found

    def batches(self, query: str) -> Iterator[Any]:
        """Yield a query's result as record batches."""
        with self._cursor() as cursor:
            _beside_main(partial(cursor.execute, query), cursor.adbc_cancel)
            read = partial(next, cursor.fetch_record_batch(), None)
            while (batch := _beside_main(read, cursor.adbc_cancel)) is not None:
                yield batch

    def ingest(self, table: str, rows: Any, **options: Any) -> int:
        """Copy the rows of an Arrow table or reader into a table; return how many they are."""
        with self._cursor() as cursor:
            copy = partial(cursor.adbc_ingest, table, rows, **options)
            return int(_beside_main(copy, cursor.adbc_cancel))

    def commit(self) -> None:
        """Commit the transaction, and begin the next one."""
        _beside_main(self._connection.commit, self._connection.adbc_cancel)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        cursor = _beside_main(self._connection.cursor)
        try:
            yield cursor
        finally:
            _beside_main(cursor.close)


@contextmanager
def connected(uri: DatabaseUri) -> Iterator[Database]:
    """Connect for the time of a block. What the block has not committed is undone.

    Raises:
        DatabaseError: For all errors of the database in the block; without the passwords of the uri.

    Blocks: for the database.
    """
    driver = adbc_postgresql()
    try:
        connection = _beside_main(partial(driver.connect, uri.with_secrets))
        try:
            yield Database(connection)
        finally:
            _beside_main(connection.close)
    except (driver.Error, pyarrow().ArrowException, OSError) as error:  # a reader of batches has Arrow's
        if isinstance(error, DatabaseError):
            raise
        error.args = (uri.hide(str(error)),)
        raise DatabaseError(str(uri), " ".join(error.args[0].split())) from error


def _beside_main(call: Callable[[], Any], cancel: Callable[[], None] | None = None) -> Any:
    """Call a function of the driver in a thread of its own, if this is the main thread.

    In the main thread, the driver takes over SIGINT during each call, and Ctrl-C would raise an error of
    the database.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        # polars, which the driver imports, gives SIGINT the flag SA_RESTART, with which Ctrl-C interrupts
        # only a wait that has a timeout.
        return result.result(threading.TIMEOUT_MAX)
    finally:
        if not result.done() and cancel is not None:
            cancel()
            thread.join()


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
