"""numpy's array files: one row for each item of the first axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.splits import even_ranges
from cmpi.data.errors import UnreadableFile
from cmpi.data.extras import numpy
from cmpi.data.sources.files import find
from cmpi.data.sources.reading import Place, Reading
from cmpi.errors import UsageError

CHUNK = 1 << 14  # rows held in memory at once


@dataclass(frozen=True)
class ArrayPart:
    """A split: a range of the first axis."""

    path: str
    begin: int
    end: int
    nbytes: int

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield Python numbers for an array of one dimension, otherwise arrays with one dimension less."""
        array = opened(self.path)
        at = [self.begin]

        def lists() -> Iterator[list[Any]]:
            for at[0] in range(self.begin, self.end, CHUNK):
                part = numpy().array(array[at[0] : min(self.end, at[0] + CHUNK)])
                yield part.tolist() if part.ndim == 1 else list(part)

        def place(i: int) -> Place:
            return self.path, at[0] + i + 1

        return reading.lists(lists(), place)


@dataclass(frozen=True)
class ArrayFiles:
    """The rows of `.npy` files."""

    paths: Any
    split_bytes: int

    def splits(self) -> Iterator[ArrayPart]:
        """Ranges of rows."""
        for path, _ in find(self.paths):
            array = opened(path)
            splits = max(1, -(-array.nbytes // self.split_bytes))
            for begin, end in even_ranges(len(array), splits):
                yield ArrayPart(path, begin, end, array.nbytes * (end - begin) // len(array))

    def describe(self) -> str:
        """The source as plans show it."""
        return f"npy {self.paths}"


def opened(path: str) -> Any:
    """Map an array, which is then read as it is used. Raises: UnreadableFile, UsageError."""
    if "://" in path:
        raise UsageError(f"arrays are read from local files; found {path!r}")
    try:
        array = numpy().load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableFile(path, f"{error}. It is truncated, holds objects, or is no array.") from error
    if not hasattr(array, "ndim") or not array.ndim:
        what = "a single number" if hasattr(array, "ndim") else "an archive (npz)"
        raise UnreadableFile(path, f"it is {what}; found no array of rows")
    return array
