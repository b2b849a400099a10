"""`Stream`: a plan, with the operators that extend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from cmpi._core.data import plan, steps
from cmpi._core.data.expressions import Expression
from cmpi._core.data.keys import Key, key_function
from cmpi._core.data.optimise import optimise
from cmpi.data.batches import FORMATS, MapBatches
from cmpi.data.execution.stream_run import StreamOptions, StreamRun
from cmpi.data.sinks.choosing import First
from cmpi.data.sinks.sink import Sink
from cmpi.data.terminals import Terminals, memory_bytes
from cmpi.errors import UsageError

On = str | Sequence[str] | Mapping[str, str]
ON_ERROR = ("raise", "skip", "collect")


class Stream(Terminals):
    """A plan of what to do with rows. It is immutable, and can be used several times.

    The methods that return a stream are lazy. The other methods, and iteration, run the stream in the
    workers of a pool. `data.of`, `data.text` and others create streams.

    >>> from cmpi import data
    >>> squares = data.of(range(10), pool=data.Serial()).map(lambda x: x * x)
    >>> squares.filter(lambda x: x % 2).sum()
    165
    """

    def __init__(self, node: plan.PlanNode, options: StreamOptions) -> None:
        self._node, self._options = node, options

    def _with(self, node: plan.PlanNode) -> Stream:
        return Stream(node, self._options)

    def _step(self, step: steps.Step) -> Stream:
        return self._with(plan.apply(self._node, step))

    # -- each row ------------------------------------------------------------------------------

    def map(self, f: Callable[[Any], Any]) -> Stream:
        """Apply `f` to each row."""
        return self._step(steps.Map(f))

    def flat_map(self, f: Callable[[Any], Iterable[Any]]) -> Stream:
        """Replace each row by the items of the iterable that `f` returns for it."""
        return self._step(steps.FlatMap(f))

    def filter(self, condition: Callable[[Any], object] | Expression) -> Stream:
        """Keep the rows for which a condition is true. It is a function, or an expression over columns
        (`col("ms") > 100`), which the readers of Parquet and IPC files apply."""
        return self._step(steps.Filter(condition))

    def inspect(self, f: Callable[[Any], object]) -> Stream:
        """Call `f` with each row, and keep the rows unchanged."""
        return self._step(steps.Inspect(f))

    def update(self, f: Callable[[Any], object]) -> Stream:
        """Call `f`, which changes each row in place; its return value is ignored."""
        return self._step(steps.Inspect(f, "update"))

    def select(self, *names: str) -> Stream:
        """Keep only these columns of records or dicts. Only these are read from columnar and CSV files."""
        if not names:
            raise UsageError("select needs the name of at least one column")
        return self._step(steps.Select(names))

    def batch(self, n: int) -> Stream:
        """Group rows into lists of `n`, in order. The last list of each split may be shorter."""
        return self._step(steps.Batch(_at_least(1, n, "n")))

    def map_batches(self, f: Callable[[Any], Any], *, format: str = "arrow", n: int = 65536) -> Stream:
        """Replace each batch of rows by the rows that `f` returns for it.

        Args:
            f: A function of a batch in this format; it returns an array, a table, or any iterable of rows.
            format: "arrow", "pandas" or "polars" (tables of records or dicts), "numpy" (an array), "list".
            n: The most rows in a batch. A batch never spans two splits.

        If `f` raises, the stream raises `BadRow`, whatever `on_error` says.
        """
        if format not in FORMATS:
            raise UsageError(f"format must be one of {', '.join(FORMATS)}; found {format!r}")
        return self._step(MapBatches(f, _at_least(1, n, "n"), format))

    # -- all rows ------------------------------------------------------------------------------

    def take(self, n: int) -> Stream:
        """Keep the first `n` rows. Only some splits are read at a time; the rows pass through this
        process."""
        return self._with(plan.Take(self._node, _at_least(0, n, "n")))

    def enumerate(self, start: int = 0) -> Stream:
        """Replace each row by a pair of its number and the row. The rows are stored on disk meanwhile."""
        return self._with(plan.Enumerate(self._node, start))

    def zip(self, other: Stream) -> Stream:
        """Pair the first rows of both streams, the second rows, and so on to the end of the shorter stream.
        The rows of both are stored on disk meanwhile."""
        return self._with(plan.Zip(self._node, _node_of(other)))

    def window(self, n: int, step: int = 1) -> Stream:
        """Make tuples of `n` consecutive rows; each begins `step` rows after the one before. Rows at the
        end that do not fill a tuple are left out. The rows are stored on disk meanwhile."""
        return self._with(plan.Window(self._node, _at_least(1, n, "n"), _at_least(1, step, "step")))

    def repartition(self, n: int) -> Stream:
        """Divide the rows into `n` splits of about equal length (fewer if there are fewer rows), to give
        every worker its share of a few large splits, or to write `n` files. The rows are stored on disk
        meanwhile."""
        return self._with(plan.Repartition(self._node, _at_least(1, n, "n")))

    def persist(self) -> Stream:
        """Run the stream now and keep its rows on disk, in `spill_folder`, for streams that begin with it.
        They are removed with the last such stream. `on_error` applies; "collect" works like "skip".

        Blocks: until all rows are there.
        """
        with StreamRun(self._options) as job:
            return self._with(plan.Source(job.persist(self._node)))

    def chain(self, *others: Stream) -> Stream:
        """Append the rows of other streams."""
        return self._with(plan.Chain((self._node, *(_node_of(each) for each in others))))

    def group_by(self, key: Key = None, *, into: Sink, value: Key = None) -> Stream:
        """Group the rows by key. The result has pairs of a key and the sink's result for its rows, in no
        particular order.

        Args:
            key: A function of a row, an index, a column's name, several names (a tuple), or None for the
                row itself. Keys have the types that `stable_hash` accepts: text, numbers, dates, tuples of
                them and the like.
            into: The sink, such as `data.mean()`.
            value: The part of a row that goes into the sink, given like `key`. By default the whole row; if
                `key` is an index, the rest of the row: the other item of a pair, or a tuple of the others.

        Within each split, the rows of a key are combined into one state before the states are exchanged.
        """
        if not isinstance(into, Sink):
            raise TypeError(f"into must be a sink, such as data.count(); found {into!r}")
        key_function(key)
        return self._with(plan.GroupBy(self._node, key, value, into))

    def distinct(self) -> Stream:
        """Keep each distinct row once, in no particular order. Rows have the types that keys can have."""
        return self.group_by(into=First()).map(_second)

    def sort(self, key: Key = None, *, reverse: bool = False) -> Stream:
        """Sort the rows by key; rows with equal keys keep their order. Rows that do not fit into memory are
        sorted on disk."""
        key_function(key)
        return self._with(plan.Sort(self._node, key, reverse))

    def inner_join(self, other: Stream, *, on: On | None = None) -> Stream:
        """Join this stream with another by key. The result is in no particular order.

        Args:
            other: The stream to join with.
            on: The key columns of records or dicts: the name of a column of both streams, several names,
                or a mapping from names in this stream to names in the other. The result has records with
                all columns of this stream and those of the other that are not in its key; a column of the
                other whose name this stream has, too, gets the ending `_right`. As in SQL, a row whose key
                is missing (None) has no partner. Arrow joins what is in its columns.
                By default both streams have pairs, `(k, x)` and `(k, y)`, which become `(k, (x, y))`.

        Blocks: never.
        """
        return self._with(plan.Join(self._node, _node_of(other), False, _columns_of_both(on)))

    def left_join(self, other: Stream, *, on: On | None = None) -> Stream:
        """As `inner_join`, but it keeps the rows of this stream without a partner: as `(k, (x, None))`, or
        with None for the columns of the other."""
        return self._with(plan.Join(self._node, _node_of(other), True, _columns_of_both(on)))

    # -- the stream itself ---------------------------------------------------------------------

    def options(
        self,
        *,
        pool: Executor | None = None,
        on_error: str | None = None,
        retries: int | None = None,
        memory: int | str | None = None,
        spill_folder: str | None = None,
        partitions: int | None = None,
        progress: bool | None = None,
    ) -> Stream:
        """Return the stream with other options. The first of joined or chained streams determines them.

        Args:
            pool: What runs it: a `ProcessPool`, `data.Serial()`, or another executor that accepts closures.
                By default this process's own pool, which is created when it is first needed.
            on_error: What to do with a row that cannot be read or for which a function raises: "raise"
                `BadRow`; "skip" the row; or "collect" the errors and return `(result, errors)`. Errors of
                sinks and unreadable files always raise.
            retries: How often a split is read again after its worker died; by default 3.
            memory: About how much memory the groups, sorted rows and join partners of one task may take
                before they are written to disk: bytes, or text such as "64 MiB" (the default).
            spill_folder: The folder for that on each host, by default the folder for temporary files. The
                hosts need not share it. It is emptied when the stream has run.
            partitions: Into how many parts shuffles divide the keys; by default 32.
            progress: Whether each stage shows a bar (tqdm) on stderr, with splits, rows and bytes per
                second. By default stages of more than a second do, if stderr is shown on a terminal.

        Blocks: never.
        """
        if on_error is not None and on_error not in ON_ERROR:
            raise UsageError(f"on_error must be raise, skip or collect; found {on_error!r}")
        now = self._options
        return Stream(
            self._node,
            replace(
                now,
                pool=pool or now.pool,
                on_error=on_error or now.on_error,
                retries=now.retries if retries is None else _at_least(0, retries, "retries"),
                memory=_at_least(1, memory_bytes(memory, now.memory), "memory"),
                spill_folder=now.spill_folder if spill_folder is None else spill_folder,
                partitions=now.partitions if partitions is None else _at_least(1, partitions, "partitions"),
                progress=now.progress if progress is None else progress,
            ),
        )

    def explain(self) -> str:
        """Return the plan as written and as run, as text: each node is above the nodes it reads from."""
        return f"{plan.explain(self._node)}\n\nruns as:\n{plan.explain(optimise(self._node))}"

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows in order, each split when it is ready. `on_error="collect"` works like "skip"."""
        with StreamRun(self._options) as job:
            yield from job.rows(self._node)

    def __repr__(self) -> str:
        return f"<Stream: {str(self._node).partition(chr(10))[0]}>"


def _node_of(stream: Stream) -> plan.PlanNode:
    if not isinstance(stream, Stream):
        raise TypeError(f"expected a stream to join or chain with; found {stream!r:.60}")
    return stream._node


def _columns_of_both(on: On | None) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The names of the key columns in the left and in the right stream."""
    if on is None:
        return None
    names = (on,) if isinstance(on, str) else tuple(on)
    both = names, tuple(on.values()) if isinstance(on, Mapping) else names
    if not names or not all(isinstance(name, str) for side in both for name in side):
        raise UsageError(
            f"on must be the name of a column, several names, or a mapping of names; found {on!r}"
        )
    return both


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def _at_least(least: int, number: int, what: str) -> int:
    if not isinstance(number, int) or number < least:
        raise UsageError(f"{what} must be a number, {least} or more; found {number!r}")
    return number
