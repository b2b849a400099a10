"""Random samples that depend only on a seed, not on the number of workers or retries."""

from __future__ import annotations

import heapq
import operator
import random
from collections.abc import Iterable
from typing import Any

from cmpi.data.sinks.sink import Sink

_by_priority = operator.itemgetter(0)
_generators: dict[int, random.Random] = {}
_split = 0


def begin_split(number: int) -> None:
    """The rows that follow in this process belong to split `number`: restart its random numbers."""
    global _split
    _split = number
    _generators.clear()


def _generator(seed: int) -> random.Random:
    found = _generators.get(seed)
    if found is None:
        found = _generators[seed] = random.Random(f"{seed}/{_split}")
    return found


class Sample(Sink):
    """`n` random rows, all equally probable, in the order of the stream; all rows if there are fewer.

    Args:
        n: The number of rows.
        seed: The same seed gives the same sample of the same input.

    Source: bottom-k sampling: each row gets a random number, and the rows with the least numbers are
    chosen.
    """

    def __init__(self, n: int, *, seed: int = 0) -> None:
        if n < 0:
            raise ValueError(f"n must be a number of rows, 0 or more; found {n!r}")
        self.n, self.seed = n, seed

    def init(self) -> list[tuple[float, Any]]:
        return []

    def add(self, state: list[tuple[float, Any]], row: Any) -> list[tuple[float, Any]]:
        return self.add_all(state, (row,))

    def add_all(self, state: list[tuple[float, Any]], rows: Iterable[Any]) -> list[tuple[float, Any]]:
        draw = _generator(self.seed).random
        bound = max(state, key=_by_priority)[0] if len(state) >= self.n > 0 else 2.0
        for row in rows:
            priority = draw()
            if priority < bound and self.n:
                state.append((priority, row))
                if len(state) >= 2 * self.n:
                    state = self._least(state)
                    bound = max(state, key=_by_priority)[0]
        return self._least(state)

    def merge(
        self, state: list[tuple[float, Any]], other: list[tuple[float, Any]]
    ) -> list[tuple[float, Any]]:
        return self._least(state + other)

    def _least(self, state: list[tuple[float, Any]]) -> list[tuple[float, Any]]:
        """The n rows with the least numbers, in order of arrival."""
        if len(state) <= self.n:
            return state
        chosen = heapq.nsmallest(self.n, enumerate(state), key=lambda each: each[1][0])
        return [each for _, each in sorted(chosen, key=operator.itemgetter(0))]

    def finish(self, state: list[tuple[float, Any]]) -> list[Any]:
        return [row for _, row in state]

    def __str__(self) -> str:
        return f"sample({self.n})"
