"""`map_batches`: functions over many rows at once, for numpy, Arrow, pandas and polars."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.keys import name_of
from cmpi._core.data.steps import Step
from cmpi.data.extras import numpy, pandas, polars, pyarrow
from cmpi.data.sinks.collecting import columns_of
from cmpi.data.sources.columnar import records

FORMATS = ("list", "numpy", "arrow", "pandas", "polars")


@dataclass(frozen=True)
class MapBatches(Step):
    """Applies `f` to each batch of `n` rows; see `Stream.map_batches`."""

    f: Callable[[Any], Any]
    n: int
    form: str
    reads_ahead = True

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        for chunk in self.over_rows(rows):
            yield from chunk if isinstance(chunk, list) else records(chunk)

    def over_rows(self, rows: Iterator[Any]) -> Iterator[Any]:
        """The results for batches of these rows: tables, or lists of rows."""
        while batch := list(itertools.islice(rows, self.n)):
            yield _result(self.f(_batch(batch, self.form)))

    def over_chunk(self, chunk: Any) -> Iterator[Any]:
        """The results for the batches of a table, of which no rows are made first, or of a list of
        rows."""
        if isinstance(chunk, list):
            yield from self.over_rows(iter(chunk))
            return
        for at in range(0, chunk.num_rows, self.n):
            yield _result(self.f(_from_arrow(chunk.slice(at, self.n), self.form)))

    def __str__(self) -> str:
        return f"map_batches {name_of(self.f)} ({self.form}, {self.n} rows)"


def _batch(rows: list[Any], form: str) -> Any:
    if form == "list":
        return rows
    if form == "numpy":
        return numpy().array(rows)
    columns = columns_of(rows)
    if form == "arrow":
        return pyarrow().table(columns)
    return (pandas() if form == "pandas" else polars()).DataFrame(columns)


def _from_arrow(table: Any, form: str) -> Any:
    if form == "arrow":
        return table
    if form == "pandas":
        return table.to_pandas()
    if form == "polars":
        return polars().from_arrow(table)
    return _batch(records(table), form)


def _result(result: Any) -> Any:
    """A function's result as a table or a list: of an array's items, or of those of any iterable."""
    module = type(result).__module__.partition(".")[0]
    if module == "pandas":
        result, module = pyarrow().Table.from_pandas(result, preserve_index=False), "pyarrow"
    elif module == "polars":
        result, module = result.to_arrow(), "pyarrow"
    if module == "pyarrow" and hasattr(result, "schema"):
        return pyarrow().table(result)  # a record batch becomes a table
    if module in ("pyarrow", "numpy"):
        rows: list[Any] = result.to_pylist() if module == "pyarrow" else result.tolist()
        return rows
    return list(result)
