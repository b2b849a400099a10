"""The functions that create streams from what changes: databases and channels."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.data.extras import adbc_postgresql, pyarrow
from cmpi.data.sources.channel_rows import ChannelRows
from cmpi.data.sources.make import stream_of
from cmpi.data.sources.postgres_rows import PostgresRows
from cmpi.data.stream import Stream
from cmpi.errors import UsageError


def channel(receiver: Any, *, pool: Executor | None = None) -> Stream:
    """Create a stream of the messages of a channel. It ends when the channel does, if ever.

    Args:
        receiver: A `Receiver`, a `Mailbox`, or `Receiver.any(...)`, whose rows are pairs of a pid and a
            message. It stays yours: the stream does not close it.

    Raises: When the stream runs: the errors of `Receiver.recv`, after the results for the messages that
        came before.

    The process that runs the stream receives the messages, and hands those that have arrived to a worker,
    as one split. Iterating, `for_each` and `write_channel` give results for each split when those before it
    have ended; `take(n)` ends after n rows. Other results, `sort`, `group_by`, joins and what stores rows
    on disk wait for the end of the channel. The stream receives only as many messages as keep the workers
    busy, so a slow stream makes the sender wait. A run that ends early loses the messages that it has
    received ahead; another run goes on with the next message.

    Blocks: never.
    """
    if not callable(getattr(receiver, "recv", None)):
        raise UsageError(f"channel needs a receiver or a mailbox; found {receiver!r:.60}")
    return stream_of(ChannelRows(receiver), pool)


def postgres(
    uri: str,
    query_or_table: str,
    *,
    split_by: str | None = None,
    splits: int | None = None,
    pool: Executor | None = None,
) -> Stream:
    """Create a stream of the records of a PostgreSQL table, or of a query's result.

    Args:
        uri: `postgresql://user:password@host:port/database`. Messages and plans show passwords as `***`. A
            uri without a password lets libpq find it in `PGPASSWORD` or `~/.pgpass`, on the workers' hosts.
        query_or_table: A table, or `schema.table`, where the case of letters counts; or a query: text
            with a space in it. A query is run once for each split.
        split_by: A column of numbers, dates or timestamps, whose values are divided into ranges of equal
            width, one for each split. By default, a table is divided by its blocks on disk, and a query is
            one split.
        splits: How many splits; by default 16 with `split_by`, or one for each 32 MiB of a table.

    Raises:
        MissingExtra: adbc-driver-postgresql or pyarrow is not installed.
        UsageError: The uri has another form.
        DatabaseError: When the stream runs: the database cannot be reached, or refuses the query.

    All splits see the database as it is when the run begins. `select` reads only those columns.
    `numeric(p, s)` is a decimal; `numeric` without a precision, and types that Arrow lacks, are text.

    Blocks: never. Source: PostgreSQL documentation, "Snapshot Synchronization Functions".
    """
    pyarrow(), adbc_postgresql()
    if splits is not None and splits < 1:
        raise UsageError(f"splits must be a number, 1 or more; found {splits!r}")
    is_query = len(query_or_table.split()) > 1
    return stream_of(PostgresRows(DatabaseUri(uri), query_or_table, is_query, split_by, splits), pool)
