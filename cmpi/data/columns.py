"""Sinks over columns: Arrow aggregates a split, and only the states are Python's."""

from __future__ import annotations

from typing import Any

from cmpi.data.extras import pyarrow
from cmpi.data.sinks.sink import Sink
from cmpi.data.sources.columnar import values_of


def aggregated(split: Any, sink: Sink) -> tuple[Any] | None:
    """The state of a sink for a columnar split; None if Arrow cannot compute it."""
    pairs = _aggregate(split, [], sink)
    return None if pairs is None else (pairs[0][1],) if pairs else (sink.init(),)


def aggregated_by_key(split: Any, key: str, sink: Sink) -> list[tuple[Any, Any]] | None:
    """The states of a sink for each key of a columnar split; None if Arrow cannot compute them."""
    return _aggregate(split, [key], sink) if sink.aggregations else None


def _aggregate(split: Any, keys: list[str], sink: Sink) -> list[tuple[Any, Any]] | None:
    arrow = pyarrow()
    named = [name for name, _ in sink.aggregations if name]
    needed = tuple(dict.fromkeys(keys + named))
    if not set(needed) <= set(split.schema.names if split.columns is None else split.columns):
        return None  # the error of a column that is not there is that of the rows
    batches = list(split.batches(needed))
    if not batches:
        return []
    if not needed:
        rows = sum(batch.num_rows for batch in batches)  # that is all that is asked
        return [(None, sink.from_arrow((rows,) * len(sink.aggregations)))]
    table = arrow.Table.from_batches(batches)
    asked: Any = [(name or [], function) for name, function in dict.fromkeys(sink.aggregations)]
    try:
        result = table.group_by(keys, use_threads=False).aggregate(asked)
    except (arrow.ArrowNotImplementedError, arrow.ArrowInvalid, arrow.ArrowTypeError):
        return None
    columns = [values_of(column) for column in result.columns]
    names = result.schema.names
    titles = [f"{name}_{function}" if name else function for name, function in sink.aggregations]
    values = [columns[names.index(title)] for title in titles]
    states = map(sink.from_arrow, zip(*values))
    return list(zip(columns[names.index(keys[0])], states)) if keys else [(None, each) for each in states]
