"""`Stream`: a plan, and the operators that make a longer one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from cmpi._core.data import plan, steps
from cmpi._core.data.expressions import Expression
from cmpi._core.data.keys import Key, key_function
from cmpi._core.data.optimise import optimise
from cmpi.data.batches import FORMATS, MapBatches
from cmpi.data.execution.job import Job, Options
from cmpi.data.sinks.choosing import First
from cmpi.data.sinks.sink import Sink
from cmpi.data.terminals import Terminals, memory_bytes
from cmpi.errors import UsageError

ON_ERROR = ("raise", "skip", "collect")


class Stream(Terminals):
    """Rows, and what is to be done with them: a plan, which nothing changes and which can be used again.

    The methods that return a stream are lazy. The others run it, in the workers of a pool, and so does
    iterating over it. `data.of`, `data.text` and others make streams.

    >>> from cmpi import data
    >>> squares = data.of(range(10), pool=data.Serial()).map(lambda x: x * x)
    >>> squares.filter(lambda x: x % 2).sum()
    165
    """

    def __init__(self, node: plan.Node, options: Options) -> None:
        self._node, self._options = node, options

    def _with(self, node: plan.Node) -> Stream:
        return Stream(node, self._options)

    def _step(self, step: steps.Step) -> Stream:
        return self._with(plan.apply(self._node, step))

    # -- each row ------------------------------------------------------------------------------

    def map(self, f: Callable[[Any], Any]) -> Stream:
        """`f` of each row."""
        return self._step(steps.Map(f))

    def flat_map(self, f: Callable[[Any], Iterable[Any]]) -> Stream:
        """All rows of the iterable that `f` makes of each row."""
        return self._step(steps.FlatMap(f))

    def filter(self, condition: Callable[[Any], object] | Expression) -> Stream:
        """The rows for which a condition is true: a function, or an expression over columns
        (`col("ms") > 100`), which Parquet and IPC files are asked for."""
        return self._step(steps.Filter(condition))

    def inspect(self, f: Callable[[Any], object]) -> Stream:
        """The same rows; `f` is called with each as it passes, to look at it."""
        return self._step(steps.Inspect(f))

    def update(self, f: Callable[[Any], object]) -> Stream:
        """The same rows, after `f` has changed each in its place; what it returns is ignored."""
        return self._step(steps.Inspect(f, "update"))

    def select(self, *names: str) -> Stream:
        """Records of these columns of records or dicts. Columnar files and CSV are asked for no others."""
        if not names:
            raise UsageError("select takes the names of columns; found none")
        return self._step(steps.Select(names))

    def batch(self, n: int) -> Stream:
        """Lists of `n` rows, in their order. The last list of each split may be shorter."""
        return self._step(steps.Batch(_at_least(1, n, "n")))

    def map_batches(self, f: Callable[[Any], Any], *, format: str = "arrow", n: int = 65536) -> Stream:
        """The rows of what `f` makes of each batch of rows.

        Args:
            f: Takes a batch in the format, and returns an array, a table, or any iterable of rows.
            format: "arrow", "pandas" or "polars" (tables of records or dicts), "numpy" (an array), "list".
            n: The most rows of a batch. Batches do not reach over the end of a split.

        If `f` raises, the stream raises `BadRow`, whatever `on_error` says.
        """
        if format not in FORMATS:
            raise UsageError(f"format is one of {', '.join(FORMATS)}; found {format!r}")
        return self._step(MapBatches(f, _at_least(1, n, "n"), format))

    # -- all rows ------------------------------------------------------------------------------

    def take(self, n: int) -> Stream:
        """The first `n` rows. No more of the stream is read than some splits at a time; the rows pass
        through this process."""
        return self._with(plan.Take(self._node, _at_least(0, n, "n")))

    def enumerate(self, start: int = 0) -> Stream:
        """Pairs of a row's number and the row. The rows lie on disk meanwhile."""
        return self._with(plan.Enumerate(self._node, start))

    def zip(self, other: Stream) -> Stream:
        """Pairs of the first rows of both streams, of the second ones and so on, to the end of the shorter
        stream. The rows of both lie on disk meanwhile."""
        return self._with(plan.Zip(self._node, _node_of(other)))

    def window(self, n: int, step: int = 1) -> Stream:
        """Tuples of `n` neighbouring rows. Each begins `step` rows after the one before, and all are full:
        what is left at the end is left out. The rows lie on disk meanwhile."""
        return self._with(plan.Window(self._node, _at_least(1, n, "n"), _at_least(1, step, "step")))

    def repartition(self, n: int) -> Stream:
        """The same rows in `n` splits of about equal numbers of rows, fewer if there are fewer rows: to
        give every worker its share of few large splits, or to write `n` files. The rows lie on disk
        meanwhile."""
        return self._with(plan.Repartition(self._node, _at_least(1, n, "n")))

    def persist(self) -> Stream:
        """Run the stream now and keep its rows on disk, in `spill_folder`, for streams that begin with it.
        They are removed with the last such stream. Bad rows: as `on_error` says, "collect" as "skip".

        Blocks: until all rows are there.
        """
        with Job(self._options) as job:
            return self._with(plan.Source(job.persist(self._node)))

    def chain(self, *others: Stream) -> Stream:
        """The rows of this stream, then those of the others."""
        return self._with(plan.Chain((self._node, *(_node_of(each) for each in others))))

    def group_by(self, key: Key = None, *, into: Sink, value: Key = None) -> Stream:
        """Pairs of each key and the result of a sink over the rows with that key, in no particular order.

        Args:
            key: A function of a row, an index, a column's name, or None for the row itself. Keys are of
                the types that `stable_hash` takes: text, numbers, dates, tuples of them and the like.
            into: The sink, such as `data.mean()`.
            value: What of a row goes into the sink: as `key`. If it is not given, the whole row; or for a
                key that is an index, the rest of the row: the other item of a pair, a tuple of the others.

        Each split is combined to one state for a key before states are sent to where they are merged.
        """
        if not isinstance(into, Sink):
            raise TypeError(f"into is a sink, such as data.count(); found {into!r}")
        key_function(key)
        return self._with(plan.GroupBy(self._node, key, value, into))

    def distinct(self) -> Stream:
        """Each different row once, in no particular order. Rows are of the types that a key can have."""
        return self.group_by(into=First()).map(_second)

    def sort(self, key: Key = None, *, reverse: bool = False) -> Stream:
        """All rows in the order of their keys; rows with equal keys stay in their order. It sorts on disk
        what does not fit into memory."""
        key_function(key)
        return self._with(plan.Sort(self._node, key, reverse))

    def inner_join(self, other: Stream) -> Stream:
        """`(k, (x, y))` for all pairs `(k, x)` of this stream and `(k, y)` of the other, in no particular
        order."""
        return self._with(plan.Join(self._node, _node_of(other), False))

    def left_join(self, other: Stream) -> Stream:
        """As `inner_join`, and `(k, (x, None))` for a pair of this stream without a partner."""
        return self._with(plan.Join(self._node, _node_of(other), True))

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
        """The same stream, run in another way. Of joined or chained streams, the first one's options count.

        Args:
            pool: Where it runs: a `ProcessPool`, `data.Serial()`, or another executor that takes closures.
                If none is named, a pool of the process's own, made when it is first needed.
            on_error: What becomes of a row that cannot be read or for which a function raises: "raise"
                `BadRow`, "skip" it, or "collect" the errors: the result is then `(result, errors)`. What a
                sink raises, and a file that cannot be read, always raises.
            retries: How often a split whose worker has died is read again: 3, if it is not given.
            memory: About how much the groups, sorted rows and join partners of one task may take before
                they are written to disk: bytes, or text such as "64 MiB", which is what it is if not given.
            spill_folder: Where that is. With workers on several hosts, a folder that all of them see. If
                it is not given, the folder for temporary files. It is empty again when the stream has run.
            partitions: Into how many parts shuffles divide the keys: 32, if it is not given.
            progress: Whether each stage shows a bar on stderr: splits, rows and bytes a second, by tqdm.
                If it is not given, stages of more than a second do where stderr is shown on a terminal.

        Blocks: never.
        """
        if on_error is not None and on_error not in ON_ERROR:
            raise UsageError(f"on_error is raise, skip or collect; found {on_error!r}")
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
        """The plan as it is written and as it is run: each node above those that its rows come from."""
        return f"{plan.explain(self._node)}\n\nruns as:\n{plan.explain(optimise(self._node))}"

    def __iter__(self) -> Iterator[Any]:
        """The rows in their order, each split when it is ready. With `on_error="collect"` as "skip"."""
        with Job(self._options) as job:
            yield from job.rows(self._node)

    def __repr__(self) -> str:
        return f"<Stream: {str(self._node).partition(chr(10))[0]}>"


def _node_of(stream: Stream) -> plan.Node:
    if not isinstance(stream, Stream):
        raise TypeError(f"a stream is joined or chained with a stream; found {stream!r:.60}")
    return stream._node


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def _at_least(least: int, number: int, what: str) -> int:
    if not isinstance(number, int) or number < least:
        raise UsageError(f"{what} is a number from {least}; found {number!r}")
    return number
