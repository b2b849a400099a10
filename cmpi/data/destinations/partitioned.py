"""Divides rows by the values of columns, for folders named `column=value`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from cmpi._core.data.keys import Columns
from cmpi._core.data.partitions import folder_of
from cmpi._core.data.records import names_of, selector
from cmpi.data.extras import numpy, pyarrow

Names = tuple[str, ...]
CHUNK = 1 << 14  # rows between two checks of memory
Divided = Iterator[
    tuple[str, Any]
]  # folders, and the rows or the table that belong there, without the columns


def divided_rows(
    rows: Iterable[Any], by: Names, memory: int, size_of: Callable[[list[Any]], int]
) -> Divided:
    """Divide rows, as many at a time as need about so much memory. `size_of` estimates what some need."""
    rows = iter(rows)
    key_of = Columns(by)
    held: dict[Any, list[Any]] = {}
    nbytes = 0
    while True:
        chunk = list(islice(rows, CHUNK))
        for row in chunk:
            held.setdefault(key_of(row), []).append(row)
        nbytes += size_of(chunk)
        if held and (not chunk or nbytes > memory):
            for key, found in held.items():
                values = key if len(by) > 1 else (key,)
                yield folder_of(dict(zip(by, values))), [_without(row, by) for row in found]
            held, nbytes = {}, 0
        if not chunk:
            return


def _without(row: Any, by: Names) -> Any:
    rest = tuple(name for name in names_of(row) if name not in by)
    if not rest:
        raise ValueError(f"partition_by={by!r} leaves no column for the files")
    return {name: row[name] for name in rest} if isinstance(row, Mapping) else selector(rest)(row)


def divided_tables(tables: Iterable[Any], by: Names) -> Divided:
    """Divide each table."""
    np = numpy()
    for table in tables:
        if not table.num_rows:
            continue
        if len(by) == table.num_columns:
            raise ValueError(f"partition_by={by!r} leaves no column for the files")
        codes = np.zeros(table.num_rows, np.int64)
        for name in by:
            distinct = pyarrow().concat_arrays(table[name].chunks).dictionary_encode("encode")
            codes = codes * len(distinct.dictionary) + distinct.indices.to_numpy()
        _, firsts, numbers = np.unique(codes, return_index=True, return_inverse=True)
        values = table.select(by).take(pyarrow().array(firsts)).to_pylist()
        rest = table.drop_columns(list(by)).take(pyarrow().array(np.argsort(numbers, kind="stable")))
        begin = 0
        for keys, n in zip(values, np.bincount(numbers).tolist()):
            yield folder_of(keys), rest.slice(begin, n)
            begin += n
