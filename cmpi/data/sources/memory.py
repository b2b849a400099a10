"""Streams from objects in memory: collections, ranges, iterators."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.splits import chunk_sizes, even_ranges
from cmpi.data.sources.reading import Reading


@dataclass(frozen=True)
class Items:
    """A split with its rows."""

    items: Sequence[Any]

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the rows."""
        return reading.numbered(self.items)  # type: ignore[arg-type]


class OfCollection:
    """A sequence or set, or any iterable with a length, whose rows are sent to the workers."""

    def __init__(self, collection: Any) -> None:
        self.collection = collection

    def splits(self) -> list[Items]:
        """Up to 64 splits."""
        every = self.collection
        if not isinstance(every, (Sequence, range)):
            every = list(every)
        parts = (every[begin:end] for begin, end in even_ranges(len(every)))
        return [Items(part if isinstance(part, range) else list(part)) for part in parts]

    def describe(self) -> str:
        """The source as plans show it."""
        kind = type(self.collection).__name__
        return f"of {len(self.collection)} rows in memory ({kind})"


class OfIterator:
    """An iterable without a length. It is read as workers become free, so it may be endless; an iterator
    can be read by one run only."""

    def __init__(self, iterable: Iterable[Any]) -> None:
        self.iterable = iterable

    def splits(self) -> Iterator[Items]:
        """Splits of 1 to 4,096 rows."""
        iterator = iter(self.iterable)
        for size in chunk_sizes():
            items = list(itertools.islice(iterator, size))
            if not items:
                return
            yield Items(items)

    def describe(self) -> str:
        """The source as plans show it."""
        return f"of an iterable ({type(self.iterable).__name__})"
