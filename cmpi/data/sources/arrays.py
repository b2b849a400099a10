"""numpy's files: one row for each item of the first axis of an array, or of the arrays of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.records import record_type
from cmpi._core.data.splits import even_ranges
from cmpi.data.errors import UnreadableFile
from cmpi.data.extras import numpy
from cmpi.data.sources.files import find, opened
from cmpi.data.sources.reading import Place, Reading

CHUNK_BYTES = 4 << 20  # of rows held in memory at once


@dataclass(frozen=True)
class ArrayLayout:
    """The array in a `.npy` file.

    Attributes:
        shape: Its shape.
        dtype: Its type.
        offset: Where in the file it begins.
        by_columns: Whether it is stored column by column; it is then mapped, or read as a whole.
    """

    shape: tuple[int, ...]
    dtype: Any
    offset: int
    by_columns: bool

    @property
    def row_bytes(self) -> int:
        """The size of one row."""
        n = self.dtype.itemsize
        for length in self.shape[1:]:
            n *= length
        return int(n)


@dataclass(frozen=True)
class ArrayPart:
    """A split: a range of the first axis of an array."""

    path: str
    layout: ArrayLayout
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """The size of these rows."""
        return (self.end - self.begin) * self.layout.row_bytes

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield Python numbers for an array of one dimension, otherwise arrays with one dimension less."""
        layout, at = self.layout, [self.begin]
        size = max(1, CHUNK_BYTES // max(1, layout.row_bytes))

        def lists() -> Iterator[list[Any]]:
            if layout.by_columns:
                array = self._whole()
                for at[0] in range(self.begin, self.end, size):
                    yield _items(numpy().array(array[at[0] : min(self.end, at[0] + size)]))
                return
            with opened(self.path) as file:
                file.seek(layout.offset + self.begin * layout.row_bytes)
                for at[0] in range(self.begin, self.end, size):
                    yield _items(self._read(file, at[0], min(self.end, at[0] + size)))

        def place(i: int) -> Place:
            return self.path, at[0] + i + 1

        return reading.lists(lists(), place)

    def _whole(self) -> Any:
        try:
            if "://" not in self.path:
                return numpy().load(self.path, mmap_mode="r", allow_pickle=False)
            with opened(self.path) as file:
                return numpy().load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise _unreadable(self.path, error) from error

    def _read(self, file: Any, begin: int, end: int) -> Any:
        layout, n = self.layout, end - begin
        found = file.read(n * layout.row_bytes)
        if len(found) < n * layout.row_bytes:
            whole = begin + len(found) // layout.row_bytes
            raise UnreadableFile(
                self.path, f"it has {layout.shape[0]} rows, and ends after row {whole}. It is truncated."
            )
        part = numpy().frombuffer(found, layout.dtype)
        return part.reshape((n, *layout.shape[1:]))


@dataclass(frozen=True)
class Archive:
    """A split: an `.npz` file, whose arrays are held in memory."""

    path: str
    nbytes: int

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield records with an item of each array."""
        arrays = self._arrays()
        lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
        if None in lengths.values() or len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise UnreadableFile(self.path, f"its arrays must have the same number of rows; found {found}")
        make = record_type(tuple(arrays))._make
        return reading.numbered(list(map(make, zip(*map(_items, arrays.values())))))

    def _arrays(self) -> dict[str, Any]:
        try:
            with opened(self.path) as file, numpy().load(file, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except Exception as error:  # zipfile, zlib and numpy have errors of their own
            raise _unreadable(self.path, error) from error


@dataclass(frozen=True)
class ArrayFiles:
    """The rows of `.npy` and `.npz` files."""

    paths: Any
    split_bytes: int

    def splits(self) -> Iterator[ArrayPart | Archive]:
        """Ranges of rows; archives as a whole."""
        for path, nbytes in find(self.paths):
            if path.endswith(".npz"):
                yield Archive(path, nbytes)
                continue
            layout = layout_of(path)
            n = layout.shape[0]
            splits = max(1, -(-n * layout.row_bytes // self.split_bytes))
            for begin, end in even_ranges(n, splits):
                yield ArrayPart(path, layout, begin, end)

    def describe(self) -> str:
        """The source as plans show it."""
        return f"npy {self.paths}"


def layout_of(path: str) -> ArrayLayout:
    """Read the header of a `.npy` file. Raises: UnreadableFile."""
    form = numpy().lib.format
    try:
        with opened(path) as file:
            major, _ = form.read_magic(file)
            read = form.read_array_header_1_0 if major == 1 else form.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            layout = ArrayLayout(shape, dtype, file.tell(), by_columns and len(shape) > 1)
    except (ValueError, EOFError) as error:
        raise _unreadable(path, error) from error
    if dtype.hasobject:
        raise UnreadableFile(path, "it holds Python objects; store numbers or text of a fixed length")
    if not shape:
        raise UnreadableFile(path, "it is a single number; found no array of rows")
    return layout


def _items(array: Any) -> list[Any]:
    return list(array.tolist() if array.ndim == 1 else array)


def _unreadable(path: str, error: Exception) -> UnreadableFile:
    return UnreadableFile(path, f"{error}. It is truncated, holds objects, or is no array.")
