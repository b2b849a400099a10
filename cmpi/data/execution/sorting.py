"""The external sort. Each split is written as sorted runs, and each part of the result merges its range of
all runs. Rows with equal keys keep their order."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cmpi._core.data.keys import Key, key_function
from cmpi.data.execution.spill import BLOCK_ROWS, BlockWriter, RowBlock, memory_of, read
from cmpi.data.sources.reading import Reading

BLOCK_MEMORY = 256 << 10  # of rows in one block: a merge holds a block of every run
PART_BYTES = 16 << 20  # of runs for each part of the result

Run = list[tuple[Any, Any, RowBlock]]  # the first key, the last key, and the rows


def sorted_runs(rows: Iterable[Any], key: Key, reverse: bool, memory: int) -> list[Run]:
    """Write rows as sorted runs, each of about as many bytes of memory as given."""
    key_of = key_function(key)
    writer = BlockWriter()
    keys: list[list[tuple[Any, Any]]] = []
    held: list[Any] = []
    nbytes = 0

    def write() -> None:
        held.sort(key=key_of, reverse=reverse)
        keys.append([])
        size = min(BLOCK_ROWS, max(1, len(held) * BLOCK_MEMORY // max(1, nbytes)))
        for at in range(0, len(held), size):
            block = held[at : at + size]
            writer.write(block)
            keys[-1].append((key_of(block[0]), key_of(block[-1])))
        held.clear()

    rows = iter(rows)
    while chunk := list(islice(rows, BLOCK_ROWS)):
        held += chunk
        nbytes += memory_of(chunk, len(chunk))
        if nbytes > memory:
            write()
            nbytes = 0
    write()
    blocks = iter(writer.close())
    return [[(first, last, next(blocks)) for first, last in run] for run in keys if run]


def parts(runs: Sequence[Run], key: Key, reverse: bool) -> Iterator[SortPart]:
    """The parts of the result in its order, each with the rows between two keys."""
    before = operator.gt if reverse else operator.lt
    entries = [entry for run in runs for entry in run]
    nbytes = sum(block.nbytes for _, _, block in entries)
    n = max(1, min(256, nbytes // PART_BYTES, len(entries)))
    firsts = sorted((first for first, _, _ in entries), reverse=reverse)
    bounds: list[Any] = []
    for i in range(1, n):
        bound = firsts[len(firsts) * i // n]
        if before(firsts[0], bound) and (not bounds or before(bounds[-1], bound)):
            bounds.append(bound)
    for begin, end in zip([(), *((b,) for b in bounds)], [*((b,) for b in bounds), ()]):
        chosen = [_overlapping(run, begin, end, before) for run in runs]
        yield SortPart(tuple(run for run in chosen if run), key, reverse, begin, end)


def _overlapping(
    run: Run, begin: tuple[Any, ...], end: tuple[Any, ...], before: Callable[[Any, Any], bool]
) -> tuple[RowBlock, ...]:
    return tuple(
        block
        for first, last, block in run
        if (not begin or not before(last, begin[0])) and (not end or before(first, end[0]))
    )


@dataclass(frozen=True)
class SortPart:
    """A split of sorted rows, from the key in `begin` up to the one in `end`; () means no bound."""

    runs: tuple[tuple[RowBlock, ...], ...]
    key: Key
    reverse: bool
    begin: tuple[Any, ...]
    end: tuple[Any, ...]

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the rows in order."""
        key_of = key_function(self.key)
        runs = [self._within(run, key_of) for run in self.runs]
        return heapq.merge(*runs, key=key_of, reverse=self.reverse)

    def _within(self, run: tuple[RowBlock, ...], key_of: Callable[[Any], Any]) -> Iterator[Any]:
        before = operator.gt if self.reverse else operator.lt
        last = len(run) - 1
        for i, rows in enumerate(read(run)):
            if 0 < i < last:
                yield from rows
                continue
            for row in rows:
                key = key_of(row)
                if self.begin and before(key, self.begin[0]):
                    continue
                if self.end and not before(key, self.end[0]):
                    return
                yield row
