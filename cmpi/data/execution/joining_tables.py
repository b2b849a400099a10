"""The join on columns by Arrow: tables are shuffled by the hashes of their keys, and Arrow joins each
partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from cmpi._core.data.records import joined_names
from cmpi.data.chunks import gathered
from cmpi.data.dense_keys import partner_finder
from cmpi.data.execution.shuffle import MAX_LEVEL, SUBPARTITIONS, Partitioner
from cmpi.data.execution.spill import RowBlock, read
from cmpi.data.extras import numpy, pyarrow
from cmpi.data.hashing import can_be_hashed
from cmpi.data.sources.columnar import BATCH_ROWS, records
from cmpi.data.sources.reading import Reading

Names = tuple[str, ...]


def with_keys(table: Any, on: Names) -> Any:
    """The rows of a table in which no key column is null."""
    for name in on:
        if table[name].null_count:
            table = table.filter(table[name].is_valid())
    return table


def key_types(left: Any, right: Any, on: tuple[Names, Names]) -> list[Any] | None:
    """The common types of the key columns of two schemas; None if Arrow and Python would not find the same
    partners."""
    types = [_common(left.field(a).type, right.field(b).type) for a, b in zip(*on)]
    return None if None in types else types


def _common(left: Any, right: Any) -> Any:
    types, arrow = pyarrow("types"), pyarrow()
    if types.is_integer(left) and types.is_integer(right):
        unsigned = types.is_uint64(left) + types.is_uint64(right)
        if unsigned and not (types.is_unsigned_integer(left) and types.is_unsigned_integer(right)):
            return None
        return arrow.uint64() if unsigned else arrow.int64()
    text = [types.is_string(each) or types.is_large_string(each) for each in (left, right)]
    if all(text):
        return arrow.large_string()
    return left if left.equals(right) and can_be_hashed(left) else None


@dataclass(frozen=True)
class JoinedTables:
    """A split of a join on columns: some partitions, each with blocks of tables of the left and the right
    stream.

    Attributes:
        on: The key columns of both.
        types: The types in which these are compared.
        schemas: The columns of the left and of the right stream.
    """

    partitions: tuple[tuple[tuple[RowBlock, ...], tuple[RowBlock, ...]], ...]
    on: tuple[Names, Names]
    outer: bool
    types: tuple[Any, ...]
    schemas: tuple[Any, Any]
    memory: int
    columnar: ClassVar[bool] = True
    columns: ClassVar[None] = None

    @property
    def schema(self) -> Any:
        """The columns of the result."""
        left, right = self.schemas
        rest = [field for field in right if field.name not in self.on[1]]
        names = joined_names(tuple(left.names), tuple(field.name for field in rest))
        return pyarrow().schema(list(zip(names, [field.type for field in (*left, *rest)])))

    def batches(self, columns: Names | None = None) -> Iterator[Any]:
        """Yield record batches, by default of all columns."""
        for left, right in self.partitions:
            yield from self._joined(left, right, columns, 1)

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the records."""
        for batch in self.batches():
            reading.rows += batch.num_rows
            yield from records(batch)

    def _joined(
        self, left: Iterable[RowBlock], right: Iterable[RowBlock], columns: Names | None, level: int
    ) -> Iterator[Any]:
        if sum(block.nbytes for block in right) > self.memory and level < MAX_LEVEL:
            for a, b in self._divided(left, right, level):
                yield from self._joined(a, b, columns, level + 1)
            return
        partners = pyarrow().concat_tables([self.schemas[1].empty_table(), *read(right)]).combine_chunks()
        find = self._finder(partners)
        for table in gathered(read(left), self.memory):
            for rows, numbers in find(table):
                yield from self._result(rows, partners, numbers, columns).to_batches()

    def _finder(self, partners: Any) -> Callable[[Any], Iterator[tuple[Any, Any]]]:
        """A function of a table of the left stream, which yields rows of it and the numbers of their
        partners: null if there is none."""
        compute, by = pyarrow("compute"), self._keys(partners, 1)
        if len(by) == 1:
            values = by[0].combine_chunks()
            find = partner_finder(values, self.memory // 4)
            if find is None and len(compute.unique(values)) == len(values):
                find = partial(compute.index_in, value_set=values)
            if find is not None:
                return partial(self._only_partner, find)
        return lambda table: self._all_partners(table, by)

    def _only_partner(self, find: Callable[[Any], Any], table: Any) -> Iterator[tuple[Any, Any]]:
        """The partners by keys that occur only once in the right stream: found twice as fast, or more."""
        every = find(self._keys(table, 0)[0])
        for at in range(0, table.num_rows, BATCH_ROWS):
            rows, numbers = table.slice(at, BATCH_ROWS), every.slice(at, BATCH_ROWS)
            if numbers.null_count and not self.outer:
                rows, numbers = rows.filter(numbers.is_valid()), numbers.drop_null()
            yield rows, numbers

    def _all_partners(self, table: Any, by: list[Any]) -> Iterator[tuple[Any, Any]]:
        names = [str(i) for i in range(len(by))]
        how = "left outer" if self.outer else "inner"
        found = _numbered(self._keys(table, 0), names, "left").join(
            _numbered(by, names, "right"), names, join_type=how, use_threads=False
        )
        for at in range(0, found.num_rows, BATCH_ROWS):
            part = found.slice(at, BATCH_ROWS)
            yield table.take(part["left"]), part["right"]

    def _keys(self, table: Any, side: int) -> list[Any]:
        return [table[name].cast(kind) for name, kind in zip(self.on[side], self.types)]

    def _result(self, left: Any, right: Any, numbers: Any, columns: Names | None) -> Any:
        """The columns of rows of the left stream, and of their partners."""
        rest = [name for name in right.column_names if name not in self.on[1]]
        names = joined_names(tuple(left.column_names), tuple(rest))
        of_right = dict(zip(names[left.num_columns :], rest))
        wanted = names if columns is None else columns
        found = [right[of_right[name]].take(numbers) if name in of_right else left[name] for name in wanted]
        return pyarrow().table(found, list(wanted)) if wanted else left.select([])

    def _divided(
        self, left: Iterable[RowBlock], right: Iterable[RowBlock], level: int
    ) -> Iterator[tuple[list[RowBlock], list[RowBlock]]]:
        sides = []
        for blocks, on in zip((left, right), self.on):
            partitioner = Partitioner(SUBPARTITIONS, level)
            for table in read(blocks):
                partitioner.write_table(table, [table[name] for name in on])
            sides.append(partitioner.close())
        for number, part in sides[0].items():
            yield part, sides[1].get(number, [])


def _numbered(keys: list[Any], names: list[str], number: str) -> Any:
    """A table of keys and the numbers of their rows."""
    numbers = pyarrow().array(numpy().arange(len(keys[0])))
    return pyarrow().table([*keys, numbers], [*names, number])
