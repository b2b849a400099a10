"""Writes rows to a file: text, CSV, JSON Lines, Parquet, Arrow IPC."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from cmpi.data.extras import pyarrow
from cmpi.data.sinks.collecting import columns_of

CHUNK = 1 << 16  # rows that are converted to columns, or to text, at once
GROUP_BYTES = 32 << 20  # of batches in one row group

Write = Callable[[str, Iterator[Any]], int]  # takes a path and rows or batches; returns the number of rows


def write_text(path: str, rows: Iterator[Any]) -> int:
    """Write a line for each row. Raises: TypeError: A row is not a str. ValueError: It has a line end in
    it."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while chunk := list(islice(rows, CHUNK)):
            text = "\n".join(chunk)
            if text.count("\n") != len(chunk) - 1:
                bad = next(row for row in chunk if "\n" in row)
                raise ValueError(f"a row of text must not contain a line end; found {bad!r:.60}")
            file.write(text)
            file.write("\n")
            n += len(chunk)
    return n


def write_json(path: str, rows: Iterator[Any]) -> int:
    """Write a JSON document on each line; records become objects."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            n += 1
            asdict = getattr(row, "_asdict", None)
            file.write(json.dumps(row if asdict is None else asdict(), ensure_ascii=False))
            file.write("\n")
    return n


def write_csv(path: str, rows: Iterator[Any]) -> int:
    """Write a header, and a line for each row: records or dicts with the same columns."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names: list[str] | None = None
        for row in rows:
            n += 1
            values = row if isinstance(row, Mapping) else getattr(row, "_asdict", lambda: None)()
            if values is None:
                raise TypeError(
                    f"rows for CSV must be records or dicts; found a {type(row).__name__}: {row!r:.60}"
                )
            if names is None:
                names = list(values)
                writer.writerow(names)
            if list(values) != names and sorted(values) != sorted(names):
                raise ValueError(f"expected the columns {', '.join(names)}; found {', '.join(values)}")
            writer.writerow([values[name] for name in names])
    return n


@dataclass(frozen=True)
class WriteTables:
    """Writes records or dicts as columns, whose types are given by the schema or found in the first
    rows, to a Parquet file or, with the form "ipc", an Arrow IPC file."""

    schema: Any = None
    form: str = "parquet"

    def __call__(self, path: str, rows: Iterator[Any]) -> int:
        table, chunks = pyarrow().Table, iter(lambda: list(islice(rows, CHUNK)), [])
        return self._write(path, chunks, lambda chunk, types: table.from_pydict(columns_of(chunk), types))

    def batches(self, path: str, batches: Iterator[Any]) -> int:
        """Write record batches, in row groups of `GROUP_BYTES`, with the types of the first one."""
        return self._write(path, _groups(batches), _table_of_batches)

    def _write(self, path: str, chunks: Iterator[Any], table_of: Callable[[Any, Any], Any]) -> int:
        n, writer, types = 0, None, self.schema
        try:
            for chunk in chunks:
                table = table_of(chunk, types)
                if writer is None:
                    types = table.schema
                    writer = self._writer(path, types)
                writer.write_table(table)
                n += table.num_rows
        finally:
            if writer is not None:
                writer.close()
        return n

    def _writer(self, path: str, schema: Any) -> Any:
        if self.form == "ipc":
            return pyarrow("ipc").new_file(path, schema)
        return pyarrow("parquet").ParquetWriter(path, schema)


def _table_of_batches(batches: list[Any], types: Any) -> Any:
    table = pyarrow().Table
    types = batches[0].schema if types is None else types
    return pyarrow().concat_tables([table.from_batches([batch]).cast(types) for batch in batches])


def _groups(batches: Iterator[Any]) -> Iterator[list[Any]]:
    held: list[Any] = []
    nbytes = 0
    for batch in batches:
        held.append(batch)
        nbytes += batch.nbytes
        if nbytes >= GROUP_BYTES:
            yield held
            held, nbytes = [], 0
    if held:
        yield held


def parts_of_rows(rows: Iterator[Any], n: int) -> Iterator[Iterator[Any]]:
    """Parts of `n` rows. Each part must be read before the next one."""
    for first in rows:
        yield chain((first,), islice(rows, n - 1))


def parts_of_batches(batches: Iterator[Any], n: int) -> Iterator[Iterator[Any]]:
    """Parts of record batches with up to `n` rows. Each part must be read before the next one."""
    left: Iterator[Any] = filter(len, batches)

    def part(first: Any) -> Iterator[Any]:
        nonlocal left
        room = n
        for batch in chain((first,), left):
            yield batch.slice(0, room)
            if len(batch) >= room:
                left = chain(filter(len, (batch.slice(room),)), left)
                return
            room -= len(batch)

    while (first := next(left, None)) is not None:
        yield part(first)
