"""CSV read by pyarrow, in columns, if the result is the same as Python's."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cmpi.data.errors import NotColumnar
from cmpi.data.extras import pyarrow
from cmpi.data.sources.csv_layout import CsvLayout
from cmpi.data.sources.files import opened
from cmpi.data.sources.lines import Part

BLOCK = 4 << 20  # bytes that pyarrow parses at once
KEY_TYPES: dict[Any, str] = {int: "int32", str: "string"}  # of columns that folders name
ARROW_TYPES: dict[Any, str] = {None: "string", int: "int64", float: "float64"}


def can_be_columns(part: Part, layout: CsvLayout) -> bool:
    """Whether pyarrow can read the file: it is UTF-8, and its columns are text or become numbers."""
    plain = part.encoding == "utf-8" and part.errors == "strict" and len(layout.delimiter) == 1
    types = [layout.types.get(name) for name in layout.names]
    distinct = len(set(layout.header)) == len(layout.header)
    simple = all(kind in KEY_TYPES and name not in layout.types for name, kind in layout.keys.items())
    return plain and distinct and simple and all(_known(kind) for kind in types) and _installed()


def _known(kind: Any) -> bool:
    return kind is None or kind is int or kind is float


def _installed() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def schema_of(layout: CsvLayout) -> Any:
    """The columns of the records as an Arrow schema."""
    keys, types = layout.keys, layout.types
    kinds = [
        KEY_TYPES[keys[name]] if name in keys else ARROW_TYPES[types.get(name)] for name in layout.names
    ]
    return pyarrow().schema(list(zip(layout.names, kinds)))


def batches_of(
    part: Part, layout: CsvLayout, header: tuple[str, ...], columns: tuple[str, ...], skip: int
) -> Iterator[Any]:
    """Yield the record batches of a part of a file.

    Args:
        part: The part of the file.
        layout: The layout of the files.
        header: All columns of the file.
        columns: The columns to read; if empty, the first one is read for the number of rows.
        skip: How many lines to skip first.

    Raises:
        NotColumnar: pyarrow found an error: Python's own reader finds the row, or accepts it.
    """
    csv = pyarrow("csv")
    schema, columns = schema_of(layout), columns or header[:1]
    with opened(part.path) as file:
        try:
            yield from csv.open_csv(
                BlockFile(part.blocks(file)),
                csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=header, skip_rows=skip),
                csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=layout.quoted_newlines),
                csv.ConvertOptions(
                    column_types={name: schema.field(name).type for name in columns},
                    include_columns=list(columns),
                    null_values=[""],
                    strings_can_be_null=False,
                ),
            )
        except pyarrow().ArrowException as error:
            raise NotColumnar(str(error)) from error


def with_constants(batch: Any, names: Sequence[str], values: Mapping[str, Any], schema: Any) -> Any:
    """A record batch of these columns, of which some have the same value in all rows."""
    arrow = pyarrow()
    fields = [schema.field(name) for name in names]
    found = [
        arrow.repeat(arrow.scalar(values[field.name], field.type), batch.num_rows)
        if field.name in values
        else batch.column(field.name)
        for field in fields
    ]
    if not fields:
        return batch.select([])
    return arrow.record_batch(found, schema=arrow.schema(fields))


class BlockFile(io.RawIOBase):
    """A file object that reads from blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._block = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 at the end. Blocks: for the file."""
        room = memoryview(buffer).cast("B")
        n = 0
        while n < len(room):
            if not self._block:
                self._block = memoryview(next(self._blocks, b""))
                if not self._block:
                    break
            part = self._block[: len(room) - n]
            room[n : n + len(part)] = part
            self._block = self._block[len(part) :]
            n += len(part)
        return n
