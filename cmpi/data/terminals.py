"""The methods of a stream that run it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from cmpi._base.units import parse_memory
from cmpi._core.data import plan
from cmpi._core.data.database_uri import DatabaseUri
from cmpi._core.data.keys import Key
from cmpi.data.destinations.folder import Destination
from cmpi.data.destinations.formats import Write, WriteTables, write_csv, write_json, write_text
from cmpi.data.destinations.postgres_table import PostgresTable
from cmpi.data.execution.stream_run import Collected, StreamOptions, StreamRun
from cmpi.data.sinks.choosing import Max, MaxBy, MaxByKey, Min, MinBy, MinByKey, SortN
from cmpi.data.sinks.folding import All, Any_, Combine, Fold, ForEach, Reduce
from cmpi.data.sinks.frequency import CountDistinct, MostDistinct, MostFrequent
from cmpi.data.sinks.numeric import Count, Histogram, Mean, StdDev, Sum
from cmpi.data.sinks.sampling import Sample
from cmpi.data.sinks.sink import Fork, Sink
from cmpi.data.sinks.tabulating import collect
from cmpi.errors import UsageError


class Terminals:
    """Methods that run a plan. Each blocks until its result is available, and returns `(result, errors)`
    with `on_error="collect"`.

    Raises (all methods): errors of the sources; `BadRow` for a bad row or a function that raises, unless
    `on_error` says otherwise; `WorkerDied` if a split has ended more workers than `retries` allows;
    `NotRunning` outside a job, if no pool is given.
    """

    _node: plan.PlanNode
    _options: StreamOptions

    def pipe(self, sink: Sink) -> Any:
        """The result of a sink: one of `cmpi.data`, steps followed by a sink, or one of your own."""
        if not isinstance(sink, Sink):
            raise TypeError(f"pipe needs a sink, such as data.count(); found {sink!r}")
        with StreamRun(self._options) as job:
            return self._result(job.reduce(self._node, sink), job)

    def _result(self, result: Any, job: StreamRun) -> Any:
        return Collected(result, job.bad) if self._options.on_error == "collect" else result

    def fork(self, *sinks: Sink) -> Any:
        """The results of several sinks in one pass, as a tuple: `fork(data.count(), data.mean("ms"))`."""
        return self.pipe(Fork(*sinks))

    def collect(self, into: type | str = list) -> Any:
        """All rows, in the order of the stream.

        Args:
            into: list, set, frozenset, tuple, deque, dict (of pairs), str (joins texts), Counter; or
                "numpy", "arrow", "pandas" or "polars".
        """
        return self.pipe(collect(into))

    def count(self) -> Any:
        """The number of rows."""
        return self.pipe(Count())

    def sum(self, of: Key = None) -> Any:
        """The sum of the rows, or of a value of each row. None is left out; 0 if there are none."""
        return self.pipe(Sum(of))

    def mean(self, of: Key = None) -> Any:
        """The mean of the rows, or of a value of each row. None is left out; the result is None if there
        are none."""
        return self.pipe(Mean(of))

    def stddev(self, of: Key = None, *, ddof: int = 1) -> Any:
        """The standard deviation: of a sample with `ddof=1`, of the whole population with `ddof=0`."""
        return self.pipe(StdDev(of, ddof=ddof))

    def min(self, of: Key = None) -> Any:
        """The least row, or value of a row. None is left out; the result is None if there are none."""
        return self.pipe(Min(of))

    def max(self, of: Key = None) -> Any:
        """The greatest row, or value of a row. None is left out; the result is None if there are none."""
        return self.pipe(Max(of))

    def min_by_key(self, key: Key) -> Any:
        """The row with the least key, the first of several; None if there are no rows."""
        return self.pipe(MinByKey(key))

    def max_by_key(self, key: Key) -> Any:
        """The row with the greatest key, the first of several; None if there are no rows."""
        return self.pipe(MaxByKey(key))

    def min_by(self, compare: Callable[[Any, Any], int]) -> Any:
        """The least row by a comparison function, which returns a negative or positive number or 0."""
        return self.pipe(MinBy(compare))

    def max_by(self, compare: Callable[[Any, Any], int]) -> Any:
        """The greatest row by a comparison function, which returns a negative or positive number or 0."""
        return self.pipe(MaxBy(compare))

    def sort_n_by(self, n: int, key: Key = None, *, largest: bool = True) -> Any:
        """The `n` rows with the greatest keys, the greatest first; or the least, the least first."""
        return self.pipe(SortN(n, key, largest=largest))

    def fold(
        self,
        init: Callable[[], Any],
        add: Callable[[Any, Any], Any],
        merge: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
        """Fold all rows into `init()` with `add`; `merge` (or `add`) combines the states of splits."""
        return self.pipe(Fold(init, add, merge))

    def reduce(self, f: Callable[[Any, Any], Any]) -> Any:
        """Combine all rows with an associative function of two rows. Raises: TypeError: There are no
        rows."""
        return self.pipe(Reduce(f))

    def combine(self, f: Callable[[Any, Any], Any]) -> Any:
        """As `reduce`, but None if there are no rows."""
        return self.pipe(Combine(f))

    def all(self, condition: Callable[[Any], object] = bool) -> Any:
        """Whether the condition is true for all rows."""
        return self.pipe(All(condition))

    def any(self, condition: Callable[[Any], object] = bool) -> Any:
        """Whether the condition is true for any row."""
        return self.pipe(Any_(condition))

    def for_each(self, f: Callable[[Any], object]) -> Any:
        """Call a function with each row, in the workers. It is called again for a split that is read again,
        because its worker died."""
        return self.pipe(ForEach(f))

    def histogram(self, of: Key = None, *, edges: Sequence[float] | None = None) -> Any:
        """How often each value occurs; with `edges`, how many values lie in each interval."""
        return self.pipe(Histogram(of, edges=edges))

    def sample(self, n: int, *, seed: int = 0) -> Any:
        """`n` random rows; the same seed gives the same sample of the same input."""
        return self.pipe(Sample(n, seed=seed))

    def most_frequent(self, n: int, of: Key = None) -> Any:
        """The `n` most frequent values as pairs (value, how often)."""
        return self.pipe(MostFrequent(n, of))

    def count_distinct(self, of: Key = None, *, error: float = 0.0) -> Any:
        """The number of distinct values; with `error`, an estimate that needs little memory."""
        return self.pipe(CountDistinct(of, error=error))

    def most_distinct(self, n: int, *, error: float = 0.0) -> Any:
        """Of pairs (key, value), the `n` keys with the most distinct values, as pairs (key, how many)."""
        return self.pipe(MostDistinct(n, error=error))

    # -- destinations --------------------------------------------------------------------------

    def write_text(self, folder: Any, *, rows_per_file: int = sys.maxsize, overwrite: bool = False) -> Any:
        """Write rows, which must be strings without line ends, as lines: see `write_parquet`."""
        return self._write(folder, "text", "txt", rows_per_file, overwrite, write_text)

    def write_json(self, folder: Any, *, rows_per_file: int = sys.maxsize, overwrite: bool = False) -> Any:
        """Write rows as JSON Lines: see `write_parquet`."""
        return self._write(folder, "json", "jsonl", rows_per_file, overwrite, write_json)

    def write_csv(
        self,
        folder: Any,
        *,
        rows_per_file: int = sys.maxsize,
        overwrite: bool = False,
        partition_by: str | Sequence[str] = (),
    ) -> Any:
        """Write records or dicts as CSV with headers: see `write_parquet`."""
        by = _names(partition_by)
        return self._write(folder, "csv", "csv", rows_per_file, overwrite, write_csv, by)

    def write_parquet(
        self,
        folder: Any,
        *,
        rows_per_file: int = sys.maxsize,
        overwrite: bool = False,
        schema: Any = None,
        partition_by: str | Sequence[str] = (),
    ) -> Any:
        """Write records or dicts as Parquet files `part-<split>-<number>.parquet`.

        Args:
            folder: Created if it does not exist. A path with a protocol ("s3://...") is handled by fsspec.
            rows_per_file: The most rows in one file. Each split has its own file or files.
            overwrite: Replace what an earlier stream has written there.
            schema: A pyarrow schema with the types of the columns; by default they are found in a file's
                first rows.
            partition_by: The name of a column, or several: the rows with the same values there are in files
                of their own, `column=value/part-...`, which do not have these columns. `data.parquet` and
                `data.csv` read them as columns of the folder. Each split writes files for all of its
                values, so sort or group the rows first if there are many values.

        Returns:
            The `Manifest`, which is also written to `_manifest.json` when all files are in place.

        Raises:
            UsageError: The folder is not empty, and `overwrite` is False.

        If the stream fails or is interrupted, it leaves nothing in the folder.
        """
        by = _names(partition_by)
        how = WriteTables(_without(schema, by))
        return self._write(folder, "parquet", "parquet", rows_per_file, overwrite, how, by)

    def write_ipc(
        self,
        folder: Any,
        *,
        rows_per_file: int = sys.maxsize,
        overwrite: bool = False,
        schema: Any = None,
        partition_by: str | Sequence[str] = (),
    ) -> Any:
        """Write records or dicts as Arrow IPC files: see `write_parquet`."""
        by = _names(partition_by)
        how = WriteTables(_without(schema, by), "ipc")
        return self._write(folder, "ipc", "arrow", rows_per_file, overwrite, how, by)

    def write_postgres(self, uri: str, table: str, *, mode: str = "create", schema: Any = None) -> Any:
        """Write records or dicts to a table of a PostgreSQL database, all rows in one transaction.

        Args:
            uri: See `data.postgres`.
            table: Its name, or `schema.table`; the case of letters counts.
            mode: "create" creates the table, which must not exist; "append" adds the rows to an existing
                table, whose column types they are converted to; "replace" creates it anew, and drops the
                former table, if there is one.
            schema: A pyarrow schema with the types of the columns; by default they are found in the rows.

        Returns:
            The number of rows.

        Raises:
            UsageError: `mode` does not fit, or the table lacks a column.
            DatabaseError: The database refused the rows, or cannot be reached.

        The rows are collected in `spill_folder` first. If the stream fails or is interrupted, the table is
        as before.
        """
        to = PostgresTable(DatabaseUri(uri), table, mode, schema)
        with StreamRun(self._options) as job:
            return self._result(job.insert(self._node, to), job)

    def write_channel(self, sender: Any) -> Any:
        """Send all rows, in order, from this process; return how many they are.

        Args:
            sender: A `Sender`, or anything else with `send`. It is not closed, so use it in a `with` block:
                if the stream fails there, the receiver gets `PeerFailed`.

        Blocks: until all rows are sent; a slow receiver makes the stream wait. If the stream is one of
            `data.channel`, each row is sent as soon as it is ready.
        """
        if not callable(getattr(sender, "send", None)):
            raise TypeError(f"write_channel needs a sender; found {sender!r:.60}")
        n = 0
        with StreamRun(self._options) as job:
            for row in job.rows(self._node):
                sender.send(row)
                n += 1
            return self._result(n, job)

    def _write(
        self,
        folder: Any,
        form: str,
        ending: str,
        rows_per_file: int,
        overwrite: bool,
        how: Write,
        by: tuple[str, ...] = (),
    ) -> Any:
        if rows_per_file < 1:
            raise ValueError(f"rows_per_file must be a number, 1 or more; found {rows_per_file!r}")
        to = Destination(folder, form, overwrite)
        with StreamRun(self._options) as job:
            return self._result(job.write(self._node, to, ending, rows_per_file, how, by), job)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """The columns of `partition_by`."""
    found = (names,) if isinstance(names, str) else tuple(names)
    if not all(isinstance(name, str) for name in found) or len(set(found)) < len(found):
        raise UsageError(
            f"partition_by must be a column's name, or several different ones; found {names!r}"
        )
    return found


def _without(schema: Any, names: tuple[str, ...]) -> Any:
    """A pyarrow schema, or None, without these columns."""
    for name in set(names) & set(() if schema is None else schema.names):
        schema = schema.remove(schema.get_field_index(name))
    return schema


def memory_bytes(memory: int | str | None, otherwise: int) -> int:
    """The number of bytes that an option gives."""
    return otherwise if memory is None else parse_memory(memory)
