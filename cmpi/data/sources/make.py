"""The functions that create streams."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from cmpi._core.data.plan import Reader, Source
from cmpi.data.execution.stream_run import StreamOptions
from cmpi.data.extras import pyarrow
from cmpi.data.sources.arrays import ArrayFiles
from cmpi.data.sources.columnar import ColumnarFiles
from cmpi.data.sources.csv_files import CsvFiles
from cmpi.data.sources.files import Paths, split_bytes_of
from cmpi.data.sources.lines import WHOLE, known_encoding
from cmpi.data.sources.memory import OfCollection, OfIterator
from cmpi.data.sources.text import JsonFile, JsonLines, TextFiles
from cmpi.data.stream import Stream
from cmpi.errors import UsageError

SPLIT_BYTES = "32 MiB"


def stream_of(reader: Reader, pool: Executor | None) -> Stream:
    """A stream of the rows of a reader."""
    return Stream(Source(reader), StreamOptions(pool=pool))


def of(rows: Iterable[Any], *, pool: Executor | None = None) -> Stream:
    """Create a stream from rows in memory.

    Args:
        rows: A collection, which is divided into up to 64 splits; or another iterable, which may be endless
            and is read as workers become free. An iterator can be read only once, and so by only one run.
        pool: See `Stream.options`, as for all sources.

    Blocks: never.
    """
    if isinstance(rows, (str, bytes)):
        raise UsageError(f"rows must be a collection or an iterable; found a {type(rows).__name__}")
    return stream_of(OfCollection(rows) if hasattr(rows, "__len__") else OfIterator(rows), pool)


def range(*arguments: int, pool: Executor | None = None) -> Stream:
    """Create a stream of the numbers of a `range`. Blocks: never."""
    return stream_of(OfCollection(builtins.range(*arguments)), pool)


def text(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    split_bytes: int | str = SPLIT_BYTES,
    pool: Executor | None = None,
) -> Stream:
    """Create a stream of the lines of files, without their ends (\\n or \\r\\n).

    Args:
        paths: A path, a glob, a folder, or a list of them; paths with a protocol ("s3://...") need fsspec.
            Files whose names end with .gz, .bz2, .xz or .zst are decompressed; such a file is one split.
            A folder named `column=value` stands for its files, and gives them a column in `csv`, `parquet`
            and `ipc`.
        encoding: The encoding of the text, except UTF-16 and UTF-32. A UTF-8 byte order mark is skipped.
        errors: How to treat bytes that cannot be decoded: "strict" makes their line a bad row; other values
            are those of `bytes.decode`.
        split_bytes: The most bytes in a split.

    Raises:
        UsageError: An argument is out of range. FileNotFoundError: No file matches, when the stream runs.

    Blocks: never.
    """
    return stream_of(TextFiles(paths, split_bytes_of(split_bytes), known_encoding(encoding), errors), pool)


def json_lines(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    split_bytes: int | str = SPLIT_BYTES,
    pool: Executor | None = None,
) -> Stream:
    """Create a stream of the documents of JSON Lines files, one per line; empty lines are skipped.

    Args: See `text`. Raises: See `text`. Blocks: never.
    """
    reader = TextFiles(
        paths, split_bytes_of(split_bytes), known_encoding(encoding), "strict", "json_lines", JsonLines
    )
    return stream_of(reader, pool)


def json(paths: Paths, *, encoding: str = "utf-8", pool: Executor | None = None) -> Stream:
    """Create a stream from JSON files with one document each: the items of a list, or the document itself.
    Each file is one split, and is held in memory.

    Args: See `text`. Raises: See `text`. Blocks: never.
    """
    every = TextFiles(paths, WHOLE, known_encoding(encoding), "strict", "json", JsonFile, divide=False)
    return stream_of(every, pool)


def npy(paths: Paths, *, split_bytes: int | str = SPLIT_BYTES, pool: Executor | None = None) -> Stream:
    """Create a stream of the rows of arrays in numpy's `.npy` files: numbers, or arrays with one dimension
    less. Of `.npz` files, which are held in memory, the rows are records with a row of each array.

    Args: See `text`. Raises: UsageError: An argument is out of range. Blocks: never.
    """
    return stream_of(ArrayFiles(paths, split_bytes_of(split_bytes)), pool)


def csv(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    types: Mapping[str, Callable[[str], Any]] | None = None,
    header: Sequence[str] | None = None,
    delimiter: str = ",",
    quoted_newlines: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    split_bytes: int | str = SPLIT_BYTES,
    pool: Executor | None = None,
) -> Stream:
    """Create a stream of the records of CSV files: named tuples of strings. Empty lines are skipped.

    Args:
        paths: See `text`, also for the arguments that are not listed here.
        columns: The columns to read; their order may differ between files. None: all columns, which then
            must be the same in all files.
        types: Functions that convert text to values, by column: `{"ms": int}`. Empty text becomes None
            there.
        header: The columns' names, if the files do not have them in their first rows.
        delimiter: The character between fields.
        quoted_newlines: Whether quoted fields may contain line ends. If not, large files are divided
            into splits of `split_bytes`; otherwise each file is one split.

    Raises: See `text`. A row with more or fewer fields than the header, or with a value that its type
        refuses, is a bad row.

    Blocks: never. Source: RFC 4180.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"delimiter must be one character; found {delimiter!r}")
    reader = CsvFiles(
        paths,
        split_bytes_of(split_bytes),
        known_encoding(encoding),
        errors,
        delimiter,
        None if header is None else tuple(header),
        None if columns is None else tuple(columns),
        dict(types or {}),
        quoted_newlines,
    )
    return stream_of(reader, pool)


def parquet(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    split_bytes: int | str = SPLIT_BYTES,
    pool: Executor | None = None,
) -> Stream:
    """Create a stream of the records of Parquet files.

    Args:
        paths: See `text`.
        columns: The columns to read; None: all columns of the first file. `select`, and `filter` with an
            expression, also tell the reader what it can skip.
        split_bytes: The most bytes in a split, in memory; row groups are not divided.

    Raises:
        MissingExtra: pyarrow is not installed.
        UnreadableFile: When the stream runs: a file is truncated or not a Parquet file.

    Blocks: never.
    """
    return _columnar("parquet", paths, columns, split_bytes, pool)


def ipc(paths: Paths, *, columns: Sequence[str] | None = None, pool: Executor | None = None) -> Stream:
    """Create a stream of the records of Arrow IPC (Feather) files, each of which is one split.

    Args: See `parquet`. Raises: See `parquet`. Blocks: never.
    """
    return _columnar("ipc", paths, columns, SPLIT_BYTES, pool)


def _columnar(
    form: str, paths: Paths, columns: Sequence[str] | None, split_bytes: int | str, pool: Executor | None
) -> Stream:
    pyarrow()
    names = None if columns is None else tuple(columns)
    return stream_of(ColumnarFiles(paths, form, split_bytes_of(split_bytes), names), pool)
