"""Sinks about how often values occur, and how many distinct values there are."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Any

from cmpi._core.data.keys import Key
from cmpi._core.data.stable_hash import stable_hash
from cmpi.data.extras import datasketches
from cmpi.data.sinks.numeric import OfValues
from cmpi.data.sinks.sink import Sink


class MostFrequent(OfValues):
    """The `n` most frequent values as a list of pairs (value, how often), most frequent first. Among
    equally frequent values, earlier ones come first. It holds each distinct value in memory."""

    def __init__(self, n: int, of: Key = None) -> None:
        super().__init__(of)
        self.n = n

    def init(self) -> Counter[Any]:
        return Counter()

    def add_all(self, state: Counter[Any], rows: Iterable[Any]) -> Counter[Any]:
        state.update(self.values(rows))
        return state

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        state.update(other)
        return state

    def finish(self, state: Counter[Any]) -> list[tuple[Any, int]]:
        return state.most_common(self.n)


class CountDistinct(OfValues):
    """The number of distinct values.

    Args:
        of: See `Sum`.
        error: With 0, the number is exact, and each distinct value is held in memory. Otherwise the
            approximate relative error of an estimate that needs little memory: 2 KiB for 0.02. It needs
            datasketches.

    Source: HyperLogLog, by Apache DataSketches.
    """

    def __init__(self, of: Key = None, *, error: float = 0.0) -> None:
        super().__init__(of)
        self.error = error
        self._log2 = 0
        if error:
            if not 0.002 <= error <= 0.3:
                raise ValueError(f"error is 0, or between 0.002 and 0.3; found {error!r}")
            datasketches()
            while 1.04 / (1 << self._log2) ** 0.5 > error or self._log2 < 4:
                self._log2 += 1

    def init(self) -> Any:
        return b"" if self.error else set()

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        if not self.error:
            state.update(self.values(rows))
            return state
        sketch = self._sketch(state)
        for value in self.values(rows):
            # The sketch hashes a str; other values are hashed here, so that equal values count once.
            sketch.update(value if type(value) is str else stable_hash(value))
        return sketch.serialize_compact()

    def _sketch(self, state: bytes) -> Any:
        library = datasketches()
        return library.hll_sketch.deserialize(state) if state else library.hll_sketch(self._log2)

    def merge(self, state: Any, other: Any) -> Any:
        if not self.error:
            state.update(other)
            return state
        if not state or not other:
            return state or other
        union = datasketches().hll_union(self._log2)
        union.update(self._sketch(state))
        union.update(self._sketch(other))
        return union.get_result().serialize_compact()

    def finish(self, state: Any) -> int:
        if not self.error:
            return len(state)
        return round(self._sketch(state).get_estimate()) if state else 0


class MostDistinct(Sink):
    """Of pairs (key, value), the `n` keys with the most distinct values, as a list of pairs (key, how
    many), greatest first. For `error` see `CountDistinct`."""

    def __init__(self, n: int, *, error: float = 0.0) -> None:
        self.n = n
        self._values = CountDistinct(error=error)

    def init(self) -> dict[Any, Any]:
        return {}

    def add(self, state: dict[Any, Any], row: Any) -> dict[Any, Any]:
        key, value = row
        state[key] = self._values.add(state[key] if key in state else self._values.init(), value)
        return state

    def merge(self, state: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        for key, theirs in other.items():
            state[key] = self._values.merge(state[key], theirs) if key in state else theirs
        return state

    def finish(self, state: dict[Any, Any]) -> list[tuple[Any, int]]:
        counts = [(key, self._values.finish(each)) for key, each in state.items()]
        return heapq.nlargest(self.n, counts, key=lambda each: each[1])
