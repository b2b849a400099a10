"""`collect` into a table or an array: rows that are in columns stay there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from cmpi.data.chunks import compact, is_table, rows_of_chunk
from cmpi.data.extras import numpy, pandas, polars, pyarrow
from cmpi.data.sinks.collecting import Collect, columns_of
from cmpi.data.sinks.sink import Sink

Pieces = list[Any]  # Arrow tables, and lists of rows


class CollectTable(Sink):
    """All rows as an array, or as a table of records or dicts, in the order of the stream.

    Args:
        into: "numpy", "arrow", "pandas" or "polars".
    """

    def __init__(self, into: str) -> None:
        self.into = into

    def init(self) -> Pieces:
        return []

    def add(self, state: Pieces, row: Any) -> Pieces:
        return self.add_all(state, (row,))

    def add_all(self, state: Pieces, rows: Iterable[Any]) -> Pieces:
        if not state or is_table(state[-1]):
            state.append([])
        state[-1].extend(rows)
        return state

    def add_table(self, state: Pieces, table: Any) -> Pieces:
        """The state with the rows of an Arrow table."""
        state.append(compact(table))
        return state

    def merge(self, state: Pieces, other: Pieces) -> Pieces:
        for piece in other:
            if is_table(piece):
                state.append(piece)
            else:
                self.add_all(state, piece)
        return state

    def finish(self, state: Pieces) -> Any:
        table = _joined(state)
        if table is not None and (found := _FROM_TABLE[self.into](table)) is not None:
            return found
        return _FROM_ROWS[self.into](list(chain.from_iterable(map(rows_of_chunk, state))))

    def __str__(self) -> str:
        return f"collect({self.into})"


def collect(into: type | str = list) -> Sink:
    """All rows in a container, an array or a table, in the order of the stream.

    Args:
        into: list, set, frozenset, tuple, deque, dict (of pairs; the last pair of a key counts), str (joins
            texts), Counter; or "numpy", "arrow", "pandas" or "polars": an array, or a table of records or
            dicts. Rows that are in Arrow's columns keep the types of these.
    """
    if isinstance(into, str) and into in _FROM_ROWS:
        return CollectTable(into)
    return Collect(into)


def _joined(pieces: Pieces) -> Any:
    """One table of all pieces; None if some are rows, or the tables have different columns."""
    if not pieces or not all(map(is_table, pieces)):
        return None
    if any(piece.column_names != pieces[0].column_names for piece in pieces):
        return None
    arrow = pyarrow()
    try:
        return arrow.concat_tables(pieces, promote_options="permissive")
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        return None


def _array(table: Any) -> Any:
    """An array of a table's numbers, as numpy would make it of the rows; None if there is anything else."""
    np, types = numpy(), pyarrow("types")
    columns = []
    for column in table.columns:
        kind = column.type
        signed = types.is_integer(kind) and not types.is_uint64(kind)
        if column.null_count or not (signed or types.is_float32(kind) or types.is_float64(kind)):
            return None
        columns.append(column.to_numpy().astype(np.int64 if signed else np.float64, copy=False))
    return np.column_stack(columns) if columns and table.num_rows else None


_FROM_TABLE: dict[str, Callable[[Any], Any]] = {
    "numpy": _array,
    "arrow": lambda table: table,
    "pandas": lambda table: table.to_pandas(),
    "polars": lambda table: polars().from_arrow(table),
}
_FROM_ROWS: dict[str, Callable[[list[Any]], Any]] = {
    "numpy": lambda rows: numpy().array(rows),
    "arrow": lambda rows: pyarrow().table(columns_of(rows)),
    "pandas": lambda rows: pandas().DataFrame(columns_of(rows)),
    "polars": lambda rows: polars().DataFrame(columns_of(rows)),
}
