"""`collect`: all rows, in a container."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from cmpi.data.sinks.sink import Sink

Rows = list[Any]
_KINDS: dict[Any, type] = {set: set, frozenset: set, dict: dict, Counter: Counter}


class Collect(Sink):
    """All rows in a container, in the order of the stream.

    Args:
        into: list, set, frozenset, tuple, deque, dict (of pairs; the last pair of a key counts), str (joins
            texts) or Counter.
    """

    def __init__(self, into: type | str = list) -> None:
        if into not in _FINISH:
            known = ", ".join(each.__name__ for each in _FINISH)
            raise TypeError(
                f"collect: into must be {known}, 'numpy', 'arrow', 'pandas' or 'polars'; found {into!r}"
            )
        assert isinstance(into, type)
        self.into = into
        # A state that grows no faster than the container does.
        self._kind: Any = _KINDS.get(into, list)

    def init(self) -> Any:
        return self._kind()

    def add(self, state: Any, row: Any) -> Any:
        return self.add_all(state, (row,))

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        if self._kind is list:
            state.extend(rows)
        else:
            state.update(rows)
        return state

    def merge(self, state: Any, other: Any) -> Any:
        return self.add_all(state, other)

    def finish(self, state: Any) -> Any:
        return _FINISH[self.into](state)

    def __str__(self) -> str:
        return f"collect({self.into.__name__})"


def columns_of(rows: Rows) -> dict[str, Rows]:
    """The columns of records or dicts; where a dict lacks a column, its value is None.

    Raises:
        TypeError: The rows are neither.
    """
    if not rows:
        return {}
    names = getattr(type(rows[0]), "_fields", None)
    if names is not None:
        return dict(zip(names, map(list, zip(*rows))))
    if isinstance(rows[0], dict):
        every = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in every}
    raise TypeError(f"a table needs records or dicts; found {type(rows[0]).__name__}: use map() first")


_FINISH: dict[Any, Callable[[Any], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    deque: deque,
    dict: dict,
    str: "".join,
    Counter: Counter,
}
