"""`map_batches`: functions over many rows at once, for numpy, Arrow, pandas and polars."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
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
        lists = iter(lambda: list(itertools.islice(rows, self.n)), [])
        return itertools.chain.from_iterable(map(self._apply, lists))

    def over_batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Apply `f` to the record batches of a columnar source without making rows of them first."""
        table = pyarrow().Table
        for batch in batches:
            for at in range(0, batch.num_rows, self.n):
                part = table.from_batches([batch.slice(at, self.n)])
                yield from _rows(self.f(_from_arrow(part, self.form)))

    def _apply(self, rows: list[Any]) -> list[Any]:
        return _rows(self.f(_batch(rows, self.form)))

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


def _rows(result: Any) -> list[Any]:
    """The rows of a function's result: a table's records, an array's items, or those of any iterable."""
    module = type(result).__module__.partition(".")[0]
    if module == "pandas":
        result, module = pyarrow().Table.from_pandas(result, preserve_index=False), "pyarrow"
    elif module == "polars":
        result, module = result.to_arrow(), "pyarrow"
    if module == "pyarrow" and hasattr(result, "schema"):
        return records(result)
    if module in ("pyarrow", "numpy"):
        rows: list[Any] = result.to_pylist() if module == "pyarrow" else result.tolist()
        return rows
    return list(result)
