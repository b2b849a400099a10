"""Runs a plan: its stages one after another, each as a task for every split."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cmpi._core.data import plan
from cmpi._core.data.optimise import optimise
from cmpi._core.data.splits import even_ranges, groups_by_size
from cmpi._core.data.steps import Steps
from cmpi.data.destinations.folder import Destination, Manifest
from cmpi.data.destinations.formats import Write, WriteTables
from cmpi.data.destinations.postgres_table import PostgresTable
from cmpi.data.errors import BadRow
from cmpi.data.execution import tasks, writing
from cmpi.data.execution.joins import join_of, pairs_of_partitions
from cmpi.data.execution.progress import Progress
from cmpi.data.execution.shuffle import GroupPart, Partitions
from cmpi.data.execution.sorting import parts
from cmpi.data.execution.spill import RowBlock
from cmpi.data.execution.store import Store
from cmpi.data.execution.stored import Kept, NumberedPart, Persisted, Stored, WindowPart, ZipPart
from cmpi.data.execution.workers import Running, pool_of_process
from cmpi.data.sinks.collecting import Collect
from cmpi.data.sinks.sink import Sink
from cmpi.data.sources.channel_rows import Later
from cmpi.data.sources.memory import Items

REDUCE_BYTES = 1 << 20  # of partitions that one task takes: many more rows than it costs to start one


@dataclass(frozen=True)
class StreamOptions:
    """How to run a stream: see `Stream.options`."""

    pool: Executor | None = None
    on_error: str = "raise"
    retries: int = 3
    memory: int = 64 << 20
    spill_folder: str = ""
    partitions: int = 32
    progress: bool | None = None


class Collected(NamedTuple):
    """A result with the errors of the rows that were left out, as returned by a stream with
    `on_error="collect"`."""

    result: Any
    errors: list[BadRow]


@dataclass
class Flow:
    """Splits, and for each the number of the steps to apply to its rows."""

    pipelines: list[Steps]
    splits: Iterator[tuple[int, Any]]
    total: int | None = None  # the number of splits, if known


@dataclass
class StreamRun:
    """One run of a plan. Leaving its `with` block removes everything that it has on disk."""

    options: StreamOptions
    bad: list[BadRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = self.options.pool or pool_of_process()
        self._store = Store(self.options.spill_folder or tempfile.gettempdir())
        self._sessions = contextlib.ExitStack()

    def __enter__(self) -> StreamRun:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._sessions.close()
        finally:
            self._store.close()

    def persist(self, node: plan.PlanNode) -> Persisted:
        """Store a plan's rows on disk, as long as they are used. Blocks: until they are there."""
        splits = list(self.keep("persist", optimise(node), in_columns=True))
        persisted = Persisted(splits, self._store)
        self._store = Store("")  # the former store now belongs to the reader
        return persisted

    def reduce(self, node: plan.PlanNode, sink: Sink) -> Any:
        """Return the result of a sink over a plan's rows. Blocks: until it is there."""
        state = sink.init()
        for each in self.run(str(sink), self.flow(optimise(node)), tasks.reduce(sink), sink.reads_ahead):
            state = sink.merge(state, each)
        return sink.finish(state)

    def write(
        self,
        node: plan.PlanNode,
        to: Destination,
        ending: str,
        rows_per_file: int,
        how: Write,
        by: tuple[str, ...],
    ) -> Manifest:
        """Write a plan's rows as files, in folders by the values of the columns `by`. Blocks: until all are
        in place."""
        try:
            memory = self.options.memory
            work = writing.write(to.folder, to.staging, ending, rows_per_file, how, by, memory)
            return to.commit(self.run(f"write {ending}", self.flow(optimise(node)), work))
        finally:
            to.close()

    def insert(self, node: plan.PlanNode, to: PostgresTable) -> int:
        """Write a plan's rows to a table; return how many they are. Blocks: until they are there."""
        work = writing.write_files(WriteTables(to.schema))
        files = [*itertools.chain(*self.spilling("write postgres", self.flow(optimise(node)), work))]
        again = Running(self._pool, self.options.retries, None, self._store).again
        return to.insert([self._store.local(file, again) for file in files])

    def rows(self, node: plan.PlanNode) -> Iterator[Any]:
        """Yield a plan's rows, computing them as they are requested."""
        sink = Collect(list)
        for each in self.run("rows", self.flow(optimise(node)), tasks.reduce(sink)):
            yield from each

    def keep(self, label: str, node: plan.PlanNode, in_columns: bool = False) -> Iterator[Kept]:
        """Store the rows of each split of a plan on disk; if allowed, as tables."""
        return self.spilling(label, self.flow(node), tasks.keep(in_columns))

    def spilling(
        self, label: str, flow: Flow, work: tasks.Work, reads_ahead: bool = False
    ) -> Iterator[Any]:
        """As `run`, with work that writes blocks."""
        self._store.open()
        return self.run(label, flow, work, reads_ahead, spills=True)

    def run(
        self, label: str, flow: Flow, work: tasks.Work, reads_ahead: bool = False, spills: bool = False
    ) -> Iterator[Any]:
        """Yield the result of the work for each split, in order."""
        task = tasks.task(work, flow.pipelines, self.options.on_error, reads_ahead, spills)
        progress = Progress(label, flow.total, self.options.progress)
        sizes: deque[int] = deque()

        def numbered() -> Iterator[tasks.Numbered | Later]:
            n = 0
            for pipeline, split in flow.splits:
                if isinstance(split, Later):
                    yield split
                    continue
                sizes.append(getattr(split, "nbytes", 0))
                yield n, pipeline, split
                n += 1
            progress.know(n)

        try:
            running = Running(self._pool, self.options.retries, task, self._store, spills)
            for result, bad, rows in running.results(numbered()):
                progress.add(rows, sizes.popleft())
                self.bad += bad
                yield result
        finally:
            progress.close()

    # -- one method for each kind of node ------------------------------------------------------

    def flow(self, node: plan.PlanNode) -> Flow:
        """The splits of a plan. Runs the shuffles and sorts that they depend on."""
        make = {
            plan.Source: self._source,
            plan.Apply: self._apply,
            plan.Chain: self._chain,
            plan.Take: self._take,
            plan.Enumerate: self._enumerate,
            plan.Zip: self._zip,
            plan.Window: self._window,
            plan.Repartition: self._repartition,
            plan.GroupBy: self._group_by,
            plan.Join: self._join,
            plan.Sort: self._sort,
        }[type(node)]
        return make(node)  # type: ignore[operator, no-any-return]

    def _source(self, node: plan.Source) -> Flow:
        session = getattr(node.reader, "session", None)
        return _plain(node.reader.splits() if session is None else self._sessions.enter_context(session()))

    def _apply(self, node: plan.Apply) -> Flow:
        flow = self.flow(node.parent)
        return replace(flow, pipelines=[Steps(each.all + node.steps.all) for each in flow.pipelines])

    def _chain(self, node: plan.Chain) -> Flow:
        return _together([self.flow(each) for each in node.streams])

    def _take(self, node: plan.Take) -> Flow:
        def taken() -> Iterator[Items]:
            left = node.n
            if not left:
                return
            results = self.run(str(node), self.flow(node.parent), tasks.reduce(Collect(list)))
            for rows in results:
                rows = rows[:left]
                left -= len(rows)
                if rows:
                    yield Items(rows)
                if not left:
                    results.close()  # type: ignore[attr-defined]
                    return

        return _plain(taken())

    def _enumerate(self, node: plan.Enumerate) -> Flow:
        def numbered() -> Iterator[NumberedPart]:
            start = node.start
            for kept in self.keep("enumerate", node.parent):
                part = Stored([kept]).whole()
                yield NumberedPart(part, start)
                start += part.length

        return _plain(numbered())

    def _stored(self, label: str, node: plan.PlanNode, in_columns: bool = False) -> Stored:
        return Stored(self.keep(label, node, in_columns))

    def _zip(self, node: plan.Zip) -> Flow:
        left, right = self._stored("zip, left", node.left), self._stored("zip, right", node.right)
        ranges = even_ranges(min(len(left), len(right)))
        return _plain([ZipPart(left.slice(*each), right.slice(*each)) for each in ranges])

    def _window(self, node: plan.Window) -> Flow:
        stored, n, step = self._stored("window", node.parent), node.n, node.step
        ranges = even_ranges(max(0, (len(stored) - n) // step + 1))
        slices = [stored.slice(begin * step, (end - 1) * step + n) for begin, end in ranges]
        return _plain([WindowPart(each, n, step) for each in slices])

    def _repartition(self, node: plan.Repartition) -> Flow:
        stored = self._stored("repartition", node.parent, in_columns=True)
        return _plain([stored.slice(*each) for each in even_ranges(len(stored), node.n)])

    def _group_by(self, node: plan.GroupBy) -> Flow:
        options = self.options
        work = tasks.combine(node, options.partitions, options.memory)
        label = f"group_by {plan.show_key(node.key)}"
        every = _gathered(self.spilling(label, self.flow(node.parent), work, node.sink.reads_ahead))
        return _plain(
            [
                GroupPart(tuple(map(tuple, group)), node.sink, options.memory)
                for group in _grouped([blocks for _, blocks in sorted(every.items())])
            ]
        )

    def _join(self, node: plan.Join) -> Flow:
        options = self.options
        if node.on is None:
            works = [tasks.shuffle(options.partitions, options.memory)] * 2
        else:
            needs_key = (not node.outer, True)
            works = [
                tasks.shuffle_on(on, needs, options.partitions, options.memory)
                for on, needs in zip(node.on, needs_key)
            ]
        flows = [_of_side(i, self.flow(each)) for i, each in enumerate(node.parents())]
        every = list(self.spilling("join: shuffle", _together(flows), tasks.side_by_side(works)))
        left, right = ([shuffled for side, shuffled in every if side == i] for i in (0, 1))
        a, b = (_gathered(each.partitions for each in side) for side in (left, right))
        join = join_of(node, left, right, options.memory)
        return _plain([join(pairs) for pairs in pairs_of_partitions(a, b, REDUCE_BYTES)])

    def _sort(self, node: plan.Sort) -> Flow:
        work = tasks.sort(node.key, node.reverse, self.options.memory)
        runs = [run for each in self.spilling("sort", self.flow(node.parent), work) for run in each]
        return _plain(list(parts(runs, node.key, node.reverse)))


def _plain(splits: Iterable[Any]) -> Flow:
    """Splits without steps. If they are a list, their number is known."""
    total = len(splits) if isinstance(splits, list) else None
    return Flow([Steps()], ((0, split) for split in splits), total)


def _together(flows: list[Flow]) -> Flow:
    """The splits of several flows, one flow after the other."""
    pipelines: list[Steps] = []
    splits: list[Iterator[tuple[int, Any]]] = []
    for flow in flows:
        splits.append(_shifted(flow.splits, len(pipelines)))
        pipelines += flow.pipelines
    totals = [flow.total for flow in flows]
    total = None if None in totals else sum(each for each in totals if each is not None)
    return Flow(pipelines, itertools.chain.from_iterable(splits), total)


def _shifted(splits: Iterator[tuple[int, Any]], by: int) -> Iterator[tuple[int, Any]]:
    return ((number + by, split) for number, split in splits)


def _of_side(side: int, flow: Flow) -> Flow:
    splits = (
        (number, split if isinstance(split, Later) else tasks.OfSide(side, split))
        for number, split in flow.splits
    )
    return replace(flow, splits=splits)


def _gathered(results: Iterable[Partitions]) -> Partitions:
    """The blocks of each partition from all tasks, in the order of the tasks."""
    every: Partitions = {}
    for partitions in results:
        for number, blocks in partitions.items():
            every.setdefault(number, []).extend(blocks)
    return every


def _grouped(partitions: list[list[RowBlock]]) -> Iterator[list[list[RowBlock]]]:
    """Neighbouring partitions in groups, one for each task."""
    sizes = [sum(block.nbytes for block in blocks) for blocks in partitions]
    for begin, end in groups_by_size(sizes, REDUCE_BYTES):
        yield partitions[begin:end]
