"""A stream's rows on disk, any range of which can be a split."""

from __future__ import annotations

import bisect
import itertools
import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from cmpi.data.chunks import rows_of_chunk
from cmpi.data.execution.spill import RowBlock, read
from cmpi.data.execution.store import Store
from cmpi.data.sources.reading import Reading


@dataclass(frozen=True)
class Slice:
    """A split of rows on disk.

    Attributes:
        blocks: The blocks with the rows.
        skip: How many rows of the first block precede the split.
        length: The number of rows.
    """

    blocks: tuple[RowBlock, ...]
    skip: int
    length: int

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the rows."""
        reading.rows += self.length
        every = itertools.chain.from_iterable(map(rows_of_chunk, read(self.blocks)))
        return itertools.islice(every, self.skip, self.skip + self.length)


@dataclass(frozen=True)
class TableSlice(Slice):
    """A split of rows on disk that are in tables with these columns."""

    schema: Any
    columnar: ClassVar[bool] = True
    columns: ClassVar[None] = None

    def batches(self, columns: tuple[str, ...] | None = None) -> Iterator[Any]:
        """Yield record batches, by default of all columns."""
        skip, left = self.skip, self.length
        for table in read(self.blocks):
            part = table.slice(skip, left)
            skip, left = 0, left - part.num_rows
            yield from (part if columns is None else part.select(columns)).to_batches()


class Kept(NamedTuple):
    """The rows of one split on disk, and their columns, if all blocks are tables with the same ones."""

    blocks: list[RowBlock]
    schema: Any = None


@dataclass(frozen=True)
class NumberedPart:
    """A split of pairs of a row's number, counted from `start`, and the row."""

    part: Slice
    start: int

    def rows(self, reading: Reading) -> Iterator[tuple[int, Any]]:
        """Yield the pairs."""
        return enumerate(self.part.rows(reading), self.start)


@dataclass(frozen=True)
class ZipPart:
    """A split of pairs of the rows of two streams."""

    left: Slice
    right: Slice

    def rows(self, reading: Reading) -> Iterator[tuple[Any, Any]]:
        """Yield the pairs."""
        return zip(self.left.rows(reading), self.right.rows(reading))


@dataclass(frozen=True)
class WindowPart:
    """A split of tuples of `n` consecutive rows; a tuple begins every `step` rows."""

    part: Slice
    n: int
    step: int

    def rows(self, reading: Reading) -> Iterator[tuple[Any, ...]]:
        """Yield the tuples."""
        rows = list(self.part.rows(reading))
        for begin in range(0, len(rows) - self.n + 1, self.step):
            yield tuple(rows[begin : begin + self.n])


class Persisted:
    """A reader of rows on disk.

    Args:
        splits: The stored rows of each split.
        store: Their store, which is closed when the reader is not used any more.
    """

    def __init__(self, splits: list[Kept], store: Store) -> None:
        self._splits = splits
        weakref.finalize(self, _close, store, os.getpid())

    def splits(self) -> list[Slice]:
        """One split for each split of the stream."""
        return [Stored([kept]).whole() for kept in self._splits]

    def describe(self) -> str:
        """The source as plans show it."""
        rows = sum(block.rows for kept in self._splits for block in kept.blocks)
        return f"{rows} rows on disk"


def _close(store: Store, owner: int) -> None:
    if os.getpid() == owner:  # a forked process ends without doing this
        store.close()


class Stored:
    """Rows on disk, numbered from 0.

    Args:
        splits: The rows of each split, in order.
    """

    def __init__(self, splits: Iterable[Kept]) -> None:
        splits = list(splits)
        self._blocks = [block for kept in splits for block in kept.blocks if block.rows]
        schemas = [kept.schema for kept in splits]
        same = all(each is not None and each.equals(schemas[0]) for each in schemas)
        self._schema = schemas[0] if schemas and same else None
        self._ends = list(itertools.accumulate(block.rows for block in self._blocks))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def whole(self) -> Slice:
        """All rows."""
        return self.slice(0, len(self))

    def slice(self, begin: int, end: int) -> Slice:
        """The existing rows from `begin` up to `end`."""
        end = min(end, len(self))
        if begin >= end:
            return self._made((), 0, 0)
        first, last = bisect.bisect_right(self._ends, begin), bisect.bisect_left(self._ends, end)
        skip = begin - (self._ends[first] - self._blocks[first].rows)
        return self._made(tuple(self._blocks[first : last + 1]), skip, end - begin)

    def _made(self, blocks: tuple[RowBlock, ...], skip: int, length: int) -> Slice:
        if self._schema is None:
            return Slice(blocks, skip, length)
        return TableSlice(blocks, skip, length, self._schema)
