"""Chunks: a split's rows as Arrow tables, as long as its steps keep them in columns, or else as lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from cmpi._core.data.steps import Filter, Select, Step, Steps
from cmpi.data.batches import MapBatches
from cmpi.data.extras import pyarrow
from cmpi.data.sinks.collecting import columns_of
from cmpi.data.sources.columnar import records
from cmpi.data.sources.reading import Reading

Chunk = Any  # an Arrow table, or a list of rows
GATHERED_BYTES = 64 << 20


def is_table(chunk: Chunk) -> bool:
    """Whether a chunk is a table."""
    return type(chunk).__module__.startswith("pyarrow")


def rows_of_chunk(chunk: Chunk) -> list[Any]:
    """The rows of a chunk."""
    return records(chunk) if is_table(chunk) else chunk


def table_of(chunk: Chunk) -> Any:
    """The rows of a chunk as a table. Raises: TypeError: They are neither records nor dicts."""
    return chunk if is_table(chunk) else pyarrow().table(columns_of(chunk))


def batches_of(chunk: Chunk) -> list[Any]:
    """The rows of a chunk as record batches. Raises: TypeError: They are neither records nor dicts."""
    batches: list[Any] = table_of(chunk).to_batches()
    return batches


def table_of_batch(batch: Any) -> Any:
    """A record batch as a table."""
    return pyarrow().Table.from_batches([batch])


def compact(table: Any) -> Any:
    """The table, without what its buffers have besides its rows: a slice would be sent with all of them."""
    if table.get_total_buffer_size() <= 2 * table.nbytes:
        return table
    to = pyarrow().BufferOutputStream()
    with pyarrow("ipc").new_stream(to, table.schema) as writer:
        writer.write_table(table)
    return pyarrow("ipc").open_stream(to.getvalue()).read_all()


def is_columnar(split: Any, reading: Reading) -> bool:
    """Whether to read a split in columns."""
    return reading.columnar and getattr(split, "columnar", False)


def rows_of(split: Any, steps: Steps, reading: Reading) -> Iterator[Any]:
    """The rows of a split after its steps."""
    begin, end = _columnar_steps(split, steps, reading)
    if begin == end:
        return reading.through(split.rows(reading), steps)
    chunks = _chunks(split, steps, begin, end, None, reading)
    rows = chain.from_iterable(map(rows_of_chunk, chunks))
    return reading.through(rows, Steps(steps.all[end:]))


def chunks_of(
    split: Any, steps: Steps, reading: Reading, names: Sequence[str] | None = None
) -> Iterator[Chunk] | None:
    """The chunks of a split after its steps; None if these end with rows.

    Args:
        split: The split.
        steps: The steps.
        reading: Counts the rows that are read.
        names: The columns that are needed of the result; None: all.
    """
    begin, end = _columnar_steps(split, steps, reading)
    if end < len(steps.all) or (begin == end and not is_columnar(split, reading)):
        return None
    return _chunks(split, steps, begin, end, names, reading)


def _columnar_steps(split: Any, steps: Steps, reading: Reading) -> tuple[int, int]:
    """The range of the steps whose rows may be in columns before and after them."""
    every = steps.all
    if reading.on_error != "raise":
        return 0, 0
    if is_columnar(split, reading):
        begin = 0
    else:
        begin = next((i for i, step in enumerate(every) if isinstance(step, MapBatches)), len(every))
    end = begin
    while end < len(every) and _is_columnar_step(every[end]):
        end += 1
    return begin, end


def _is_columnar_step(step: Step) -> bool:
    known = isinstance(step, (MapBatches, Select))
    return known or (isinstance(step, Filter) and step.expression is not None)


def _chunks(
    split: Any, steps: Steps, begin: int, end: int, names: Sequence[str] | None, reading: Reading
) -> Iterator[Chunk]:
    if is_columnar(split, reading):
        names = None if names is None else tuple(dict.fromkeys(names))
        known = split.schema.names if split.columns is None else split.columns
        pushed = tuple(names) if names is not None and begin == end and set(names) <= set(known) else None
        chunks = _tables(split, pushed, reading)
    else:
        first = steps.all[begin]
        assert isinstance(first, MapBatches)
        chunks = first.over_rows(reading.through(split.rows(reading), Steps(steps.all[:begin])))
        begin += 1
    for step in steps.all[begin:end]:
        chunks = chain.from_iterable(map(partial(_applied, step), chunks))
    return chunks


def _tables(split: Any, names: tuple[str, ...] | None, reading: Reading) -> Iterator[Chunk]:
    """A split's batches as tables; one without rows if there are no batches."""
    table, none = pyarrow().Table, True
    for batch in reading.own(split.batches(names)):
        reading.rows += batch.num_rows
        yield table.from_batches([batch])
        none = False
    if none:
        names = split.columns if names is None else names
        schema = split.schema
        if names is not None:
            schema = pyarrow().schema([schema.field(name) for name in names])
        yield schema.empty_table()


def _applied(step: Any, chunk: Chunk) -> Iterable[Chunk]:
    if isinstance(step, MapBatches):
        return step.over_chunk(chunk)
    if not is_table(chunk):
        return (list(step.over(iter(chunk))),)
    if isinstance(step, Select):
        return (chunk.select(step.names),)
    return (chunk.filter(step.expression.arrow(pyarrow("compute").field)),)


def gathered(chunks: Iterable[Chunk], nbytes: int = GATHERED_BYTES) -> Iterator[Chunk]:
    """Concatenate consecutive tables with the same columns, until they have about so many bytes."""
    held: list[Any] = []
    size = 0
    for chunk in chunks:
        if held and (not is_table(chunk) or not chunk.schema.equals(held[0].schema) or size >= nbytes):
            yield _concatenated(held)
            held, size = [], 0
        if is_table(chunk) and chunk.num_columns:
            held.append(chunk)
            size += chunk.nbytes
        else:
            yield chunk
    if held:
        yield _concatenated(held)


def _concatenated(tables: list[Any]) -> Any:
    return tables[0] if len(tables) == 1 else pyarrow().concat_tables(tables)
