"""Decides how to join what was shuffled: by Arrow if all of it is in tables that Arrow can compare, or else
in rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cmpi._core.data.plan import Join
from cmpi._core.data.records import JoinedRecords
from cmpi._core.data.splits import groups_by_size
from cmpi.data.execution.joining_rows import JoinPart, Shuffled
from cmpi.data.execution.joining_tables import JoinedTables, key_types
from cmpi.data.execution.shuffle import Partitions
from cmpi.data.execution.spill import RowBlock

PART_BYTES = 4 << 20  # of a partition's rows of the left stream that one task joins


def join_of(
    node: Join, left: Sequence[Shuffled], right: Sequence[Shuffled], memory: int
) -> Callable[[Any], Any]:
    """Return a function that makes a split of the join from partitions."""
    if node.on is None:
        return partial(JoinPart, outer=node.outer, memory=memory)
    schemas = _schema(left), _schema(right)
    if None not in schemas and (types := key_types(*schemas, node.on)):
        return partial(
            JoinedTables,
            on=node.on,
            outer=node.outer,
            types=tuple(types),
            schemas=schemas,
            memory=memory,
        )
    names = dict.fromkeys(name for each in right for name in each.names)
    names.update(dict.fromkeys(name for each in right for schema in each.schemas for name in schema.names))
    records = JoinedRecords(node.on[1], tuple(names))
    return partial(JoinPart, outer=node.outer, memory=memory, on=node.on, records=records)


Pair = tuple[tuple[RowBlock, ...], tuple[RowBlock, ...]]


def pairs_of_partitions(left: Partitions, right: Partitions, nbytes: int) -> list[tuple[Pair, ...]]:
    """The blocks of both streams for each task of a join: of some partitions with so many bytes together,
    or of a part of one partition.

    A partition that is large because many rows of the left stream have the same key is divided: each part
    is joined with all rows of the right stream, unless these are even more.
    """
    pairs: list[Pair] = []
    for number, blocks in sorted(left.items()):
        others = tuple(right.get(number, ()))
        limit = max(PART_BYTES, _size(others))
        for begin, end in groups_by_size([block.nbytes for block in blocks], limit):
            pairs.append((tuple(blocks[begin:end]), others))
    sizes = [_size(a) + _size(b) for a, b in pairs]
    return [tuple(pairs[begin:end]) for begin, end in groups_by_size(sizes, nbytes)]


def _size(blocks: Sequence[RowBlock]) -> int:
    return sum(block.nbytes for block in blocks)


def _schema(side: Sequence[Shuffled]) -> Any:
    """The columns of one side of a join, if it has only tables with the same columns."""
    found = [schema for each in side for schema in each.schemas]
    if not found or any(each.names for each in side):
        return None
    return found[0] if all(schema.equals(found[0]) for schema in found) else None
