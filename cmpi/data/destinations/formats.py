"""How rows become a file: text, CSV, JSON Lines, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from cmpi.data.extras import pyarrow
from cmpi.data.sinks.collecting import columns_of

CHUNK = 1 << 16  # rows that are made columns, or text, at once

Write = Callable[[str, Iterator[Any]], int]  # takes a path and rows; returns how many there were


def write_text(path: str, rows: Iterator[Any]) -> int:
    """A line for each row, which is a str. Raises: TypeError: It is not. ValueError: It has two lines."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while chunk := list(islice(rows, CHUNK)):
            text = "\n".join(chunk)
            if text.count("\n") != len(chunk) - 1:
                bad = next(row for row in chunk if "\n" in row)
                raise ValueError(f"a row of text is one line; found {bad!r:.60}")
            file.write(text)
            file.write("\n")
            n += len(chunk)
    return n


def write_json(path: str, rows: Iterator[Any]) -> int:
    """A JSON document in each line; records are objects."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            n += 1
            asdict = getattr(row, "_asdict", None)
            file.write(json.dumps(row if asdict is None else asdict(), ensure_ascii=False))
            file.write("\n")
    return n


def write_csv(path: str, rows: Iterator[Any]) -> int:
    """A header and a line for each row: records or dicts with the same columns."""
    n = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names: list[str] | None = None
        for row in rows:
            n += 1
            values = row if isinstance(row, Mapping) else getattr(row, "_asdict", lambda: None)()
            if values is None:
                raise TypeError(
                    f"CSV is made of records or dicts; found a {type(row).__name__}: {row!r:.60}"
                )
            if names is None:
                names = list(values)
                writer.writerow(names)
            if list(values) != names and sorted(values) != sorted(names):
                raise ValueError(f"the columns are {', '.join(names)}; found {', '.join(values)}")
            writer.writerow([values[name] for name in names])
    return n


def write_parquet(schema: Any = None) -> Write:
    """Records or dicts as columns, whose types are those of the schema, or of the first rows."""

    def write(path: str, rows: Iterator[Any]) -> int:
        arrow = pyarrow()
        n, writer, types = 0, None, schema
        try:
            while chunk := list(islice(rows, CHUNK)):
                table = arrow.Table.from_pydict(columns_of(chunk), schema=types)
                if writer is None:
                    types = table.schema
                    writer = pyarrow("parquet").ParquetWriter(path, types)
                writer.write_table(table)
                n += len(chunk)
        finally:
            if writer is not None:
                writer.close()
        return n

    return write
