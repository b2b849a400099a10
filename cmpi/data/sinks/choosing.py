"""Sinks that choose rows by their order. Among equal rows they choose the earlier one."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from cmpi._core.data.keys import Key, key_function
from cmpi._core.data.plan import show_key
from cmpi.data.sinks.numeric import OfValues, is_there
from cmpi.data.sinks.sink import Sink


class Extreme(OfValues):
    """The least or greatest value; None if there are none."""

    choose: Callable[..., Any]

    def init(self) -> Any:
        return None

    def add(self, state: Any, row: Any) -> Any:
        value = row if self._take is None else self._take(row)
        return state if value is None else value if state is None else type(self).choose(state, value)

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        there = () if state is None else (state,)
        return type(self).choose(itertools.chain(there, self.values(rows)), default=None)

    def merge(self, state: Any, other: Any) -> Any:
        return type(self).choose(filter(is_there, (state, other)), default=None)

    def from_arrow(self, values: tuple[Any, ...]) -> Any:
        return values[0]


class Min(Extreme):
    """The least value; None if there are none."""

    functions = ("min",)
    choose = min


class Max(Extreme):
    """The greatest value; None if there are none."""

    functions = ("max",)
    choose = max


class SortN(Sink):
    """The `n` rows with the greatest keys, greatest first; with `largest=False`, those with the least keys,
    least first.

    Args:
        n: How many rows.
        key: A function, an index, a column's name, or None for the row itself.
        largest: Whether to choose the greatest keys.
    """

    def __init__(self, n: int, key: Key = None, *, largest: bool = True) -> None:
        if n < 0:
            raise ValueError(f"n must be a number of rows, 0 or more; found {n!r}")
        self.n, self.key, self.largest = n, key, largest
        self._choose = heapq.nlargest if largest else heapq.nsmallest
        self._key = key_function(key)

    def init(self) -> list[Any]:
        return []

    def add(self, state: list[Any], row: Any) -> list[Any]:
        return self.add_all(state, (row,))

    def add_all(self, state: list[Any], rows: Iterable[Any]) -> list[Any]:
        return self._choose(self.n, itertools.chain(state, rows), key=self._key)

    def merge(self, state: list[Any], other: list[Any]) -> list[Any]:
        return self.add_all(state, other)

    def __str__(self) -> str:
        return f"sort_n_by({self.n}, {show_key(self.key)})"


class ByKey(SortN):
    """The row with the greatest or least key; None if there are no rows."""

    def finish(self, state: list[Any]) -> Any:
        return state[0] if state else None


class MaxByKey(ByKey):
    """The row with the greatest key; None if there are no rows."""

    def __init__(self, key: Key) -> None:
        super().__init__(1, key)


class MinByKey(ByKey):
    """The row with the least key; None if there are no rows."""

    def __init__(self, key: Key) -> None:
        super().__init__(1, key, largest=False)


class MaxBy(MaxByKey):
    """The greatest row by a comparison function, which returns a negative or positive number or 0; None if
    there are no rows."""

    def __init__(self, compare: Callable[[Any, Any], int]) -> None:
        super().__init__(functools.cmp_to_key(compare))


class MinBy(MinByKey):
    """The least row by a comparison function, which returns a negative or positive number or 0; None if
    there are no rows."""

    def __init__(self, compare: Callable[[Any, Any], int]) -> None:
        super().__init__(functools.cmp_to_key(compare))


class First(Sink):
    """The first row; None if there are none."""

    def init(self) -> tuple[Any, ...]:
        return ()

    def add(self, state: tuple[Any, ...], row: Any) -> tuple[Any, ...]:
        return state or (row,)

    def merge(self, state: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
        return state or other

    def finish(self, state: tuple[Any, ...]) -> Any:
        return state[0] if state else None
