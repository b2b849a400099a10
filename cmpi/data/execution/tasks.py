"""The code that runs in workers: reads a split, applies its steps, and handles the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.keys import Key, key_function, names_of_key, rest_function
from cmpi._core.data.plan import GroupBy
from cmpi._core.data.steps import Steps
from cmpi.data.chunks import (
    chunks_of,
    gathered,
    is_table,
    rows_of,
    rows_of_chunk,
)
from cmpi.data.columns import aggregated, aggregated_by_key, columns_of_sink
from cmpi.data.errors import BadRow, DatabaseError, Misplaced, NotColumnar, UnreadableFile
from cmpi.data.execution.joining_rows import Shuffled, has_all_keys, has_key, keyed, shuffled
from cmpi.data.execution.joining_tables import with_keys
from cmpi.data.execution.places import Places, at, folder_here
from cmpi.data.execution.shuffle import Groups, Partitioner, Partitions
from cmpi.data.execution.sorting import Run, sorted_runs
from cmpi.data.execution.spill import BlockWriter, write_rows
from cmpi.data.execution.stored import Kept
from cmpi.data.sinks.sampling import begin_split
from cmpi.data.sinks.sink import Sink
from cmpi.data.sinks.tabulating import CollectTable
from cmpi.data.sources.reading import Reading

BLOCK_BYTES = 4 << 20  # of tables in one block

Numbered = tuple[int, int, Any]  # number of the split, number of its steps, split
Task = Callable[[tuple[Numbered, Places]], tuple[Any, list[BadRow], int]]
Work = Callable[[int, Any, Steps, Reading], Any]  # number of the split, split, steps, reading


def task(
    work: Work, pipelines: list[Steps], on_error: str, reads_ahead: bool = False, spills: bool = False
) -> Task:
    """Make a function for the pool that does the work over a split, with the files of its job at these
    places. It returns the work's result, the bad rows, and how many rows were read."""

    def run(argument: tuple[Numbered, Places]) -> tuple[Any, list[BadRow], int]:
        (number, pipeline, split), places = argument
        with at(places):
            if spills:
                folder_here()  # before rows are read
            return run_at(number, pipelines[pipeline], split)

    def run_at(number: int, steps: Steps, split: Any) -> tuple[Any, list[BadRow], int]:
        begin_split(number)
        reading = Reading(on_error)
        try:
            try:
                result = work(number, split, steps, reading)
            except NotColumnar:
                reading.close()
                reading = Reading(on_error, columnar=False)
                result = work(number, split, steps, reading)
            return result, reading.bad, reading.rows
        except (BadRow, UnreadableFile, DatabaseError, Misplaced):
            raise
        except Exception as error:
            raise reading.failed(error, near=reads_ahead or steps.reads_ahead) from error
        finally:
            reading.close()

    return run


def reduce(sink: Sink) -> Work:
    """Work that computes the state of a sink for a split."""
    if isinstance(sink, CollectTable):
        return tabulate(sink)

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Any:
        names = columns_of_sink(sink)
        chunks = chunks_of(split, steps, reading, names) if sink.aggregations else None
        if chunks is None:
            return sink.add_all(sink.init(), rows_of(split, steps, reading))
        state = sink.init()
        for chunk in gathered(chunks):
            found = aggregated(chunk, sink) if is_table(chunk) else None
            if found is not None:
                state = sink.merge(state, found[0])
            else:
                state = sink.add_all(state, _rows_otherwise(chunk, steps))
        return state

    return work


def tabulate(sink: CollectTable) -> Work:
    """Work that collects a split's tables and rows."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Any:
        chunks = chunks_of(split, steps, reading)
        if chunks is None:
            return sink.add_all(sink.init(), rows_of(split, steps, reading))
        state = sink.init()
        for chunk in gathered(chunks):
            state = sink.add_table(state, chunk) if is_table(chunk) else sink.add_all(state, chunk)
        return state

    return work


def combine(node: GroupBy, partitions: int, memory: int) -> Work:
    """Work that writes the states of a split's groups to partitions."""
    sink = node.sink

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Partitions:
        groups = Groups(sink, partitions, 0, memory)
        key_of = key_function(node.key)
        value_of = rest_function(node.key) if node.value is None else key_function(node.value)
        keys = names_of_key(node.key) if node.value is None and sink.aggregations else None
        chunks = chunks_of(split, steps, reading, (*keys, *columns_of_sink(sink))) if keys else None
        if keys is None or chunks is None:
            rows = rows_of(split, steps, reading)
            if reading.on_error != "raise" and node.key is not None:
                rows, key_of, value_of = _with_keys(rows, key_of, value_of, reading)
            groups.add(rows, key_of, value_of)
            return groups.close()
        for chunk in gathered(chunks, memory):
            table = aggregated_by_key(chunk, keys, sink) if is_table(chunk) else None
            if table is not None:
                groups.merge_table(table)
            else:
                groups.add(_rows_otherwise(chunk, steps), key_of, value_of)
        return groups.close()

    return work


def _rows_otherwise(chunk: Any, steps: Steps) -> list[Any]:
    """The rows of a chunk that Arrow cannot aggregate. Raises: NotColumnar: No step has been called, so
    that the split can be read in rows, whose places errors then tell."""
    if not steps.all:
        raise NotColumnar
    return rows_of_chunk(chunk)


def _with_keys(rows: Iterator[Any], key_of: Any, value_of: Any, reading: Reading) -> Any:
    """Rows that have keys, as pairs, and the functions that take the pairs apart."""

    def pairs() -> Iterator[Any]:
        for row in rows:
            try:
                pair = key_of(row), value_of(row)
            except Exception as error:
                reading.note(error)
                continue
            yield pair

    return pairs(), key_function(0), key_function(1)


def shuffle(partitions: int, memory: int) -> Work:
    """Work that writes a split's pairs to partitions."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Shuffled:
        partitioner = Partitioner(partitions, 0)
        shuffled(rows_of(split, steps, reading), partitioner, memory)
        return Shuffled(partitioner.close())

    return work


def shuffle_on(on: tuple[str, ...], needs_key: bool, partitions: int, memory: int) -> Work:
    """Work that writes a split's tables, or pairs of a key and a record, to partitions by the columns `on`.
    `needs_key`: leave out rows in which one of these is None."""
    is_there = has_key if len(on) == 1 else has_all_keys

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Shuffled:
        partitioner = Partitioner(partitions, 0)
        names: dict[str, None] = {}
        schemas: list[Any] = []

        def write(rows: Iterable[Any]) -> None:
            pairs = keyed(rows, on, reading, names)
            shuffled(filter(is_there, pairs) if needs_key else pairs, partitioner, memory)

        chunks = chunks_of(split, steps, reading)
        if chunks is None:
            write(rows_of(split, steps, reading))
            return Shuffled(partitioner.close(), tuple(names))
        for chunk in gathered(chunks, memory):
            if not is_table(chunk) or not set(on) <= set(chunk.column_names):
                write(_rows_otherwise(chunk, steps))
                continue
            table = chunk.replace_schema_metadata(None)
            if table.schema not in schemas:
                schemas.append(table.schema)
            table = with_keys(table, on) if needs_key else table
            partitioner.write_table(table, [table[name] for name in on])
        return Shuffled(partitioner.close(), tuple(names), tuple(schemas))

    return work


@dataclass(frozen=True)
class OfSide:
    """A split of one of two streams."""

    side: int
    split: Any

    @property
    def nbytes(self) -> int:
        """The size of the split, if known."""
        return getattr(self.split, "nbytes", 0)


def side_by_side(works: Sequence[Work]) -> Work:
    """Each side's own work on the splits of both. It returns the side, too."""

    def work(number: int, split: OfSide, steps: Steps, reading: Reading) -> tuple[int, Any]:
        return split.side, works[split.side](number, split.split, steps, reading)

    return work


def sort(key: Key, reverse: bool, memory: int) -> Work:
    """Work that writes a split's rows as sorted runs."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> list[Run]:
        return sorted_runs(rows_of(split, steps, reading), key, reverse, memory)

    return work


def keep(in_columns: bool) -> Work:
    """Work that writes a split's rows as blocks; if allowed, as tables."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> Kept:
        chunks = chunks_of(split, steps, reading) if in_columns else None
        if chunks is None:
            return Kept(write_rows(rows_of(split, steps, reading)))
        writer, schemas = BlockWriter(), []
        for chunk in gathered(chunks, BLOCK_BYTES):
            writer.write(chunk)
            schemas.append(chunk.schema if is_table(chunk) else None)
        same = all(each is not None and each.equals(schemas[0]) for each in schemas)
        return Kept(writer.close(), schemas[0] if schemas and same else None)

    return work
