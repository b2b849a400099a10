"""A stream's rows on disk, any range of which can be a split."""

from __future__ import annotations

import bisect
import itertools
import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cmpi.data.execution.spill import Block, read
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

    blocks: tuple[Block, ...]
    skip: int
    length: int

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the rows."""
        reading.rows += self.length
        every = itertools.chain.from_iterable(read(self.blocks))
        return itertools.islice(every, self.skip, self.skip + self.length)


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

    def __init__(self, splits: list[list[Block]], store: Store) -> None:
        self._splits = splits
        weakref.finalize(self, _close, store, os.getpid())

    def splits(self) -> list[Slice]:
        """One split for each split of the stream."""
        return [Stored(blocks).whole() for blocks in self._splits]

    def describe(self) -> str:
        """The source as plans show it."""
        rows = sum(block.rows for blocks in self._splits for block in blocks)
        return f"{rows} rows on disk"


def _close(store: Store, owner: int) -> None:
    if os.getpid() == owner:  # a forked process ends without doing this
        store.close()


class Stored:
    """Rows on disk, numbered from 0.

    Args:
        blocks: The blocks with the rows, in order.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = [block for block in blocks if block.rows]
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
            return Slice((), 0, 0)
        first, last = bisect.bisect_right(self._ends, begin), bisect.bisect_left(self._ends, end)
        skip = begin - (self._ends[first] - self._blocks[first].rows)
        return Slice(tuple(self._blocks[first : last + 1]), skip, end - begin)
