"""The work of tasks that write a split to files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

from cmpi._core.data.steps import Steps
from cmpi.data.chunks import batches_of, chunks_of, gathered, rows_of, table_of_batch
from cmpi.data.destinations.folder import WrittenFile, write_split
from cmpi.data.destinations.formats import Write, WriteTables, parts_of_batches, parts_of_rows
from cmpi.data.destinations.partitioned import divided_rows, divided_tables
from cmpi.data.execution.spill import RowBlock, memory_of, new_path
from cmpi.data.execution.tasks import Work
from cmpi.data.sources.reading import Reading


def write(
    folder: str,
    staging: str,
    ending: str,
    rows_per_file: int,
    how: Write,
    by: tuple[str, ...] = (),
    memory: int = 0,
) -> Work:
    """Work that writes a split's rows as files, in folders by the values of the columns `by`."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> list[WrittenFile]:
        write_part, rows = _form_for(how, split, steps, reading)
        in_columns = write_part is not how
        divided: Iterator[tuple[str, Any]] = iter([("", rows)])
        if by and in_columns:
            tables = divided_tables(gathered(map(table_of_batch, rows), memory), by)
            divided = ((inside, table.to_batches()) for inside, table in tables)
        elif by:
            divided = divided_rows(rows, by, memory, lambda some: memory_of(some, len(some)))
        parts_of = parts_of_batches if in_columns else parts_of_rows
        parts = ((inside, part) for inside, rows in divided for part in parts_of(iter(rows), rows_per_file))
        return write_split(parts, folder, staging, number, ending, write_part)

    return work


def write_files(how: Write) -> Work:
    """Work that writes a split's rows as a file of the job, which is a block."""

    def work(number: int, split: Any, steps: Steps, reading: Reading) -> list[RowBlock]:
        write_part, rows = _form_for(how, split, steps, reading)
        path = new_path()
        n = write_part(path, rows)
        return [RowBlock(os.path.getsize(path), n, path)] if n else []

    return work


def _form_for(how: Write, split: Any, steps: Steps, reading: Reading) -> tuple[Write, Iterator[Any]]:
    """How to write a split: as record batches, if it can be read and written so; else as rows."""
    in_columns = isinstance(how, WriteTables) and how.schema is None
    chunks = chunks_of(split, steps, reading) if in_columns else None
    if isinstance(how, WriteTables) and chunks is not None:
        return how.batches, chain.from_iterable(map(batches_of, chunks))
    return how, rows_of(split, steps, reading)
