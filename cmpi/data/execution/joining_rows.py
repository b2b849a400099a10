"""The join by rows: both sides are shuffled by key, and each partition is joined by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, starmap
from typing import Any, NamedTuple

from cmpi._core.data.keys import key_function
from cmpi._core.data.records import JoinedRecords, names_of
from cmpi.data.chunks import is_table
from cmpi.data.execution.shuffle import CHUNK, MAX_LEVEL, SUBPARTITIONS, Partitioner, Partitions
from cmpi.data.execution.spill import RowBlock, memory_of, read
from cmpi.data.sources.columnar import records, values_of
from cmpi.data.sources.reading import Reading

Names = tuple[str, ...]


class Shuffled(NamedTuple):
    """The rows of one split, for a join.

    Attributes:
        partitions: Blocks of pairs of a key and a value; in a join on columns, the value is the row, and
            blocks can also be tables.
        names: All columns of the rows that are in pairs, in a join on columns.
        schemas: The columns of the tables.
    """

    partitions: Partitions
    names: tuple[str, ...] = ()
    schemas: tuple[Any, ...] = ()


def keyed(
    rows: Iterable[Any], on: tuple[str, ...], reading: Reading, names: dict[str, None]
) -> Iterator[Any]:
    """Yield a pair of its key and the row for each record or dict; add its columns to `names`."""
    key_of = key_function(on)
    for row in rows:
        try:
            names.update(dict.fromkeys(names_of(row)))
            pair = key_of(row), row
        except Exception as error:
            reading.note(error)
            continue
        yield pair


def pairs_in(block: Any, on: Names | None) -> list[tuple[Any, Any]]:
    """The pairs of a key and a value in a block."""
    if on is None or not is_table(block):
        return block  # type: ignore[no-any-return]
    keys = [values_of(block[name]) for name in on]
    return list(zip(keys[0] if len(keys) == 1 else zip(*keys), records(block)))


def has_key(pair: tuple[Any, Any]) -> bool:
    """Whether the key of a pair is a value."""
    return pair[0] is not None


def has_all_keys(pair: tuple[tuple[Any, ...], Any]) -> bool:
    """Whether all parts of the key of a pair are values."""
    return all(part is not None for part in pair[0])


def shuffled(rows: Iterable[Any], partitioner: Partitioner, memory: int) -> None:
    """Distribute pairs (key, value) over partitions. Raises: TypeError: A row is not a pair."""
    held: list[Any] = []
    nbytes = 0
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        if any(not isinstance(row, tuple) or len(row) != 2 for row in chunk):
            bad = next(row for row in chunk if not isinstance(row, tuple) or len(row) != 2)
            raise TypeError(f"a join needs pairs (key, value); found a {type(bad).__name__}: {bad!r:.60}")
        held += chunk
        nbytes += memory_of(chunk, len(chunk))
        if nbytes > memory:
            partitioner.write(held)
            held, nbytes = [], 0
    partitioner.write(held)


@dataclass(frozen=True)
class JoinPart:
    """A split of a join: some partitions, each with blocks of the left and the right stream.

    Attributes:
        on: The key columns of both, in a join on columns.
        records: Makes a record of two partners there.
    """

    partitions: tuple[tuple[tuple[RowBlock, ...], tuple[RowBlock, ...]], ...]
    outer: bool
    memory: int
    on: tuple[Names, Names] | tuple[None, None] = (None, None)
    records: JoinedRecords | None = None

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the key and the values of each pair of partners, or their record."""
        pairs = chain.from_iterable(self._joined(*each, 1) for each in self.partitions)
        if self.records is None:
            return pairs
        return starmap(self.records, (values for _, values in pairs))

    def _joined(
        self, left: Iterable[RowBlock], right: Iterable[RowBlock], level: int
    ) -> Iterator[tuple[Any, tuple[Any, Any]]]:
        partners: dict[Any, list[Any]] = {}
        memory = 0
        for pairs in map(partial(pairs_in, on=self.on[1]), read(right)):
            memory += memory_of(pairs, len(pairs))
            if memory > self.memory and level < MAX_LEVEL:
                yield from self._divided(left, right, level)
                return
            for key, value in pairs:
                partners.setdefault(key, []).append(value)
        for pairs in map(partial(pairs_in, on=self.on[0]), read(left)):
            for key, value in pairs:
                found = partners.get(key)
                if found is not None:
                    for other in found:
                        yield key, (value, other)
                elif self.outer:
                    yield key, (value, None)

    def _divided(
        self, left: Iterable[RowBlock], right: Iterable[RowBlock], level: int
    ) -> Iterator[tuple[Any, tuple[Any, Any]]]:
        sides = []
        for blocks, on in zip((left, right), self.on):
            partitioner = Partitioner(SUBPARTITIONS, level)
            for rows in read(blocks):
                partitioner.write(pairs_in(rows, on))
            sides.append(partitioner.close())
        for number, part in sides[0].items():
            yield from self._joined(part, sides[1].get(number, ()), level + 1)
