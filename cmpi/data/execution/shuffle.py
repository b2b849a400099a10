"""The shuffle: distributes rows over partitions by the hash of their keys; groups are combined before that.

Rows that do not fit into the memory of a task are divided once more, by other bits of the hash, and are
meanwhile on disk.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

from cmpi._core.data.stable_hash import partitions_of
from cmpi.data import columns
from cmpi.data.chunks import is_table
from cmpi.data.execution.spill import BlockWriter, RowBlock, memory_of, read
from cmpi.data.sinks.sink import Sink
from cmpi.data.sources.reading import Reading

CHUNK = 1 << 14  # rows or keys between two checks of memory
SUBPARTITIONS = 16
MAX_LEVEL = 4  # divisions of a partition; if it is still too large, it has too many rows of too few keys

Partitions = dict[int, list[RowBlock]]


class Partitioner:
    """Writes pairs to partitions.

    Args:
        partitions: The number of partitions.
        level: How often the keys have been divided before.
    """

    def __init__(self, partitions: int, level: int) -> None:
        self._writer = BlockWriter()
        self._partitions, self._level = partitions, level
        self._numbers: list[tuple[int, int]] = []  # numbers of partitions, and of their blocks

    def write(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Write a block for each partition that these pairs belong to."""
        pairs = list(pairs)
        numbers = partitions_of(list(map(itemgetter(0), pairs)), self._partitions, self._level)
        divided: dict[int, list[Any]] = {}
        for pair, number in zip(pairs, numbers):
            found = divided.get(number)
            if found is None:
                divided[number] = [pair]
            else:
                found.append(pair)
        for number, rows in divided.items():
            self._numbers.append((number, self._writer.write(rows)))

    def write_table(self, table: Any, keys: Sequence[Any]) -> None:
        """Write a block for each partition that rows of this table belong to. `keys` are the columns of
        their keys."""
        for number, rows in columns.divided(table, keys, self._partitions, self._level):
            self._numbers.append((number, self._writer.write(rows)))

    def close(self) -> Partitions:
        """The blocks of each partition."""
        blocks = self._writer.close()
        partitions: Partitions = {}
        for number, block in self._numbers:
            partitions.setdefault(number, []).append(blocks[block])
        return partitions


class Groups:
    """States by key, which are written to partitions when they need too much memory.

    Args:
        sink: The sink that the states belong to.
        partitions: See `Partitioner`.
        level: See `Partitioner`.
        memory: About how many bytes the states may take.
    """

    def __init__(self, sink: Sink, partitions: int, level: int, memory: int) -> None:
        self.states: Any = Counter()
        self.partitioner: Partitioner | None = None
        self._sink, self._where, self._memory = sink, (partitions, level), memory
        self._look_at = CHUNK
        self._tables: list[Any] = []

    def add(self, rows: Iterable[Any], key_of: Any, value_of: Any) -> None:
        """Add rows to the states of their keys."""
        rows = iter(rows)
        while chunk := list(islice(rows, CHUNK)):
            self._sink.add_by_key(self.states, chunk, key_of, value_of)
            self._look()

    def merge(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Merge states that belong to later rows."""
        self._sink.merge_by_key(self.states, pairs)
        self._look()

    def merge_table(self, table: Any) -> None:
        """Merge an aggregate table of later rows."""
        if columns.can_be_shuffled(table, self._sink):
            self._tables.append(table)
            if len(self._tables) > 1 and sum(each.nbytes for each in self._tables) > self._memory:
                self._write_tables()
        else:
            self.merge(columns.pairs(table, self._sink))

    def _write_tables(self) -> None:
        if self.partitioner is None:
            self.partitioner = Partitioner(*self._where)
        table = columns.merged(self._tables, self._sink) if len(self._tables) > 1 else None
        for each in self._tables if table is None else [table]:
            self.partitioner.write_table(each, columns.key_columns(each, self._sink))
        self._tables.clear()

    def _look(self) -> None:
        if len(self.states) < self._look_at:
            # Few keys may have large states, too.
            self._look_at = min(self._look_at, max(64, 2 * len(self.states)))
            return
        memory = memory_of(self.states, len(self.states))
        if memory > self._memory:
            self.flush()
        else:
            growth = min(2.0, max(1.1, self._memory / max(1, memory)))
            self._look_at = int(len(self.states) * growth) + 1

    def flush(self) -> None:
        """Write all states to their partitions."""
        if self.partitioner is None:
            self.partitioner = Partitioner(*self._where)
        self.partitioner.write(self.states.items())
        self.states.clear()
        self._look_at = CHUNK

    def close(self) -> Partitions:
        """Write all states, and return the partitions."""
        self._write_tables()
        self.flush()
        assert self.partitioner is not None
        return self.partitioner.close()


@dataclass(frozen=True)
class GroupPart:
    """A split of the result of `group_by`: some partitions, each with blocks of (key, state)."""

    partitions: tuple[tuple[RowBlock, ...], ...]
    sink: Sink
    memory: int

    def rows(self, reading: Reading) -> Iterator[tuple[Any, Any]]:
        """The pairs of a key and its result."""
        if sum(block.nbytes for blocks in self.partitions for block in blocks) <= self.memory:
            partitions: list[Iterable[Any]] = [list(read(blocks)) for blocks in self.partitions]
            table = self._merged_tables(list(itertools.chain.from_iterable(partitions)))
            if table is not None:
                return columns.finished_pairs(table, self.sink)
        else:
            partitions = [read(blocks) for blocks in self.partitions]
        return itertools.chain.from_iterable(self._merged(rows, 1) for rows in partitions)

    def _merged_tables(self, rows: list[Any]) -> Any:
        """The merged aggregate table, if all blocks are aggregate tables and Arrow can merge them."""
        return columns.merged(rows, self.sink) if all(map(is_table, rows)) else None

    def _finished(self, states: Any) -> Iterable[tuple[Any, Any]]:
        return zip(states, map(self.sink.finish, states.values()))

    def _merged(self, lists: Iterable[Any], level: int) -> Iterator[tuple[Any, Any]]:
        memory = self.memory if level < MAX_LEVEL else 1 << 62
        groups = Groups(self.sink, SUBPARTITIONS, level, memory)
        for rows in lists:
            groups.merge(columns.pairs(rows, self.sink) if is_table(rows) else rows)
        if groups.partitioner is None:
            yield from self._finished(groups.states)
            return
        for part in groups.close().values():
            yield from self._merged(read(part), level + 1)
