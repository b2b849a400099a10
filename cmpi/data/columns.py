"""Sinks over columns: Arrow aggregates each split, and merges the groups' aggregates after the shuffle.

An *aggregate table* has a row for each group: first the columns of its key, if there is one, then a column
for each aggregation of the sink. If Arrow cannot continue, its rows become pairs of a key and a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cmpi.data import dense_keys
from cmpi.data.extras import numpy, pyarrow
from cmpi.data.hashing import can_be_hashed, partition_numbers
from cmpi.data.sinks.sink import Sink
from cmpi.data.sources.columnar import values_of

PIECE = 1 << 17  # rows that are divided at once: they fit into a core's cache
# How the aggregates of two splits are merged. Others, such as a variance, are merged as states.
MERGED_BY = {"count_all": "sum", "count": "sum", "sum": "sum", "min": "min", "max": "max"}


def aggregated(table: Any, sink: Sink) -> tuple[Any] | None:
    """Compute the state of a sink for a table; None if Arrow cannot do it."""
    names = columns_of_sink(sink)
    if not names:  # only the number of rows is needed
        return (sink.from_arrow((table.num_rows,) * len(sink.aggregations)),)
    if not set(names) <= set(table.column_names):
        return None
    if not table.num_rows:
        return (sink.init(),)
    result = _aggregate(table, [], _distinct(sink))
    return None if result is None else (next(_states(result, sink)),)


def aggregated_by_key(table: Any, keys: tuple[str, ...], sink: Sink) -> Any:
    """The aggregate table of a table; None if Arrow cannot compute it."""
    if not {*keys, *columns_of_sink(sink)} <= set(table.column_names):
        return None
    return _aggregate(table, list(keys), _distinct(sink))


def pairs(table: Any, sink: Sink) -> Iterator[tuple[Any, Any]]:
    """The keys and states of an aggregate table."""
    return zip(_keys(table, sink), _states(table, sink))


def finished_pairs(table: Any, sink: Sink) -> Iterator[tuple[Any, Any]]:
    """The keys and results of an aggregate table."""
    return zip(_keys(table, sink), sink.results_from_arrow(*_columns(table, sink)))


def _keys(table: Any, sink: Sink) -> Iterable[Any]:
    keys = [values_of(column) for column in key_columns(table, sink)]
    return keys[0] if len(keys) == 1 else zip(*keys)


def can_be_shuffled(table: Any, sink: Sink) -> bool:
    """Whether aggregate tables like this one can be divided by key and merged."""
    hashable = all(can_be_hashed(column.type) for column in key_columns(table, sink))
    return hashable and all(function in MERGED_BY for _, function in sink.aggregations)


def divided(table: Any, keys: Sequence[Any], partitions: int, level: int = 0) -> Iterator[tuple[int, Any]]:
    """Divide a table by the columns that are its key: yields numbers of partitions, as `partition` would
    give for the keys, and tables."""
    np = numpy()
    numbers = partition_numbers(keys, partitions, level)
    if partitions <= 1 << 16:
        numbers = numbers.astype(np.uint16)  # which numpy sorts by radix
    parts: list[list[Any]] = [[] for _ in range(partitions)]
    for at in range(0, table.num_rows, PIECE):
        piece = numbers[at : at + PIECE]
        rows = table.slice(at, PIECE).take(pyarrow().array(np.argsort(piece, kind="stable")))
        ends = np.cumsum(np.bincount(piece, minlength=partitions)).tolist()
        for part, begin, end in zip(parts, [0, *ends], ends):
            if begin < end:
                part.append(rows.slice(begin, end - begin))
    for number, part in enumerate(parts):
        if part:
            yield number, pyarrow().concat_tables(part).combine_chunks()


def merged(tables: Sequence[Any], sink: Sink) -> Any:
    """Merge aggregate tables into one; None if Arrow cannot."""
    functions = [MERGED_BY[function] for _, function in _distinct(sink)]
    names = [str(i) for i in range(tables[0].num_columns)]
    tables = [each.rename_columns(names) for each in tables]
    if not all(each.schema.equals(tables[0].schema) for each in tables):
        return None
    table = pyarrow().concat_tables(tables)
    n = len(names) - len(functions)
    return _aggregate(table, names[:n], list(zip(names[n:], functions)))


def _distinct(sink: Sink) -> list[tuple[str, str]]:
    return list(dict.fromkeys(sink.aggregations))


def key_columns(table: Any, sink: Sink) -> list[Any]:
    """The columns of an aggregate table that are its key."""
    keys: list[Any] = table.columns[: table.num_columns - len(_distinct(sink))]
    return keys


def columns_of_sink(sink: Sink) -> tuple[str, ...]:
    """The columns that a sink aggregates."""
    return tuple(dict.fromkeys(name for name, _ in sink.aggregations if name))


def _aggregate(table: Any, keys: list[str], asked: list[tuple[str, str]]) -> Any:
    """The aggregate table of a table; None if Arrow cannot compute it."""
    found = dense_keys.aggregate(table, keys, asked)
    if found is not None:
        return found
    arrow = pyarrow()
    columns: list[Any] = [(name or [], function) for name, function in asked]
    try:
        return table.group_by(keys, use_threads=False).aggregate(columns)
    except (arrow.ArrowNotImplementedError, arrow.ArrowInvalid, arrow.ArrowTypeError):
        return None


def _states(table: Any, sink: Sink) -> Iterator[Any]:
    return map(sink.from_arrow, zip(*_columns(table, sink)))


def _columns(table: Any, sink: Sink) -> list[list[Any]]:
    """The values of each aggregation of a sink."""
    distinct = _distinct(sink)
    columns = dict(zip(distinct, map(values_of, table.columns[-len(distinct) :])))
    return [columns[each] for each in sink.aggregations]
