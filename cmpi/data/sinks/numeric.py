"""Sinks that count and add up. As in SQL and Arrow, None is a missing value, and is left out."""

from __future__ import annotations

import bisect
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import is_not, truediv
from typing import Any

from cmpi._core.data.keys import Key, identity, key_function
from cmpi.data.sinks.sink import Sink

is_there = partial(is_not, None)


class OfValues(Sink):
    """A sink over one value of each row.

    Args:
        of: The value: a column's name, an index, a function, or None for the row itself.
    """

    functions: tuple[str, ...] = ()  # Arrow functions whose results make up its state

    def __init__(self, of: Key = None) -> None:
        self.of = of
        self._take = None if of is None else key_function(of)
        if isinstance(of, str):
            self.aggregations = tuple((of, function) for function in self.functions)

    def values(self, rows: Iterable[Any]) -> Iterator[Any]:
        """The values that are not None."""
        return filter(is_there, rows if self._take is None else map(self._take, rows))

    def add(self, state: Any, row: Any) -> Any:
        return self.add_all(state, (row,))

    def __str__(self) -> str:
        of = "" if self.of is None else self.of if isinstance(self.of, str) else repr(self.of)
        return f"{super().__str__()}({of})"


class Count(Sink):
    """The number of rows."""

    aggregations = (("", "count_all"),)

    def init(self) -> int:
        return 0

    def add(self, state: int, row: Any) -> int:
        return state + 1

    def add_all(self, state: int, rows: Iterable[Any]) -> int:
        if isinstance(rows, Sequence):
            return state + len(rows)
        last = deque(enumerate(rows, state + 1), maxlen=1)  # counts in C
        return last[0][0] if last else state

    def add_by_key(self, states: Any, rows: Iterable[Any], key_of: Any, value_of: Any) -> None:
        states.update(rows if key_of is identity else map(key_of, rows))  # a Counter's update, in C

    def merge(self, state: int, other: int) -> int:
        return state + other

    def merge_by_key(self, states: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        found = states.get
        for key, n in pairs:
            states[key] = found(key, 0) + n

    def from_arrow(self, values: tuple[Any, ...]) -> int:
        return int(values[0])

    def results_from_arrow(self, *columns: list[Any]) -> Iterator[Any]:
        return iter(columns[0])


class Sum(OfValues):
    """The sum of the values; 0 if there are none."""

    functions = ("sum",)

    def init(self) -> Any:
        return 0

    def add(self, state: Any, row: Any) -> Any:
        value = row if self._take is None else self._take(row)
        return state if value is None else state + value

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        return sum(self.values(rows), state)

    def merge(self, state: Any, other: Any) -> Any:
        return state + other

    def from_arrow(self, values: tuple[Any, ...]) -> Any:
        return 0 if values[0] is None else values[0]


class Mean(OfValues):
    """The mean of the values; None if there are none."""

    functions = ("count", "sum")

    def init(self) -> tuple[int, Any]:
        return 0, 0

    def add(self, state: tuple[int, Any], row: Any) -> tuple[int, Any]:
        value = row if self._take is None else self._take(row)
        return state if value is None else (state[0] + 1, state[1] + value)

    def add_all(self, state: tuple[int, Any], rows: Iterable[Any]) -> tuple[int, Any]:
        n, total = state
        for value in self.values(rows):
            n += 1
            total += value
        return n, total

    def merge(self, state: tuple[int, Any], other: tuple[int, Any]) -> tuple[int, Any]:
        return state[0] + other[0], state[1] + other[1]

    def finish(self, state: tuple[int, Any]) -> Any:
        return state[1] / state[0] if state[0] else None

    def from_arrow(self, values: tuple[Any, ...]) -> tuple[int, Any]:
        return int(values[0]), values[1] or 0

    def results_from_arrow(self, *columns: list[Any]) -> Iterator[Any]:
        counts, totals = columns
        if 0 in counts:
            return super().results_from_arrow(*columns)
        return map(truediv, totals, counts)


class StdDev(OfValues):
    """The standard deviation of the values; None if there are `ddof` or fewer.

    Args:
        of: See `Sum`.
        ddof: Subtracted from the number of values for the divisor: 1 for a sample, 0 for a whole
            population.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances".
    """

    functions = ("count", "mean", "variance")  # Arrow's variance divides by the number of values

    def __init__(self, of: Key = None, *, ddof: int = 1) -> None:
        super().__init__(of)
        self.ddof = ddof

    def init(self) -> tuple[int, float, float]:
        return 0, 0.0, 0.0  # number, mean, sum of squared differences from the mean

    def add(self, state: tuple[int, float, float], row: Any) -> tuple[int, float, float]:
        value = row if self._take is None else self._take(row)
        if value is None:
            return state
        n, mean, squares = state
        n += 1
        off = value - mean
        mean += off / n
        return n, mean, squares + off * (value - mean)

    def add_all(self, state: tuple[int, float, float], rows: Iterable[Any]) -> tuple[int, float, float]:
        n, mean, squares = state
        for value in self.values(rows):
            n += 1
            off = value - mean
            mean += off / n
            squares += off * (value - mean)
        return n, mean, squares

    def merge(
        self, state: tuple[int, float, float], other: tuple[int, float, float]
    ) -> tuple[int, float, float]:
        (n, mean, squares), (m, theirs, more) = state, other
        if not n or not m:
            return state if n else other
        off = theirs - mean
        return n + m, mean + off * m / (n + m), squares + more + off * off * n * m / (n + m)

    def finish(self, state: tuple[int, float, float]) -> float | None:
        n, _, squares = state
        return math.sqrt(squares / (n - self.ddof)) if n > self.ddof else None

    def from_arrow(self, values: tuple[Any, ...]) -> tuple[int, float, float]:
        n, mean, variance = values
        return (int(n), mean, variance * n) if n else self.init()


class Histogram(OfValues):
    """How often each value occurs, or how many values lie between edges.

    Args:
        of: See `Sum`.
        edges: Increasing numbers. The result is a list with the number of values from each edge up to the
            next, the last edge included, as in `numpy.histogram`. None: the result is a list of pairs
            (value, how often), sorted by value.
    """

    def __init__(self, of: Key = None, *, edges: Sequence[float] | None = None) -> None:
        super().__init__(of)
        self.edges = None if edges is None else list(edges)
        if self.edges is not None and (len(self.edges) < 2 or self.edges != sorted(set(self.edges))):
            raise ValueError(f"edges are two or more increasing numbers; found {edges!r}")

    def init(self) -> Counter[Any]:
        return Counter()

    def add_all(self, state: Counter[Any], rows: Iterable[Any]) -> Counter[Any]:
        if self.edges is None:
            state.update(self.values(rows))
        else:
            state.update(filter(is_there, map(self._bin, self.values(rows))))
        return state

    def _bin(self, value: Any) -> int | None:
        assert self.edges is not None
        if not self.edges[0] <= value <= self.edges[-1]:
            return None
        return min(bisect.bisect_right(self.edges, value), len(self.edges) - 1) - 1

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        state.update(other)
        return state

    def finish(self, state: Counter[Any]) -> list[Any]:
        if self.edges is None:
            return sorted(state.items())
        return [state[i] for i in range(len(self.edges) - 1)]
