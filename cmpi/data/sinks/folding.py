"""Sinks that users' functions define."""

from __future__ import annotations

import builtins
import functools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from cmpi._core.data.keys import name_of
from cmpi.data.sinks.sink import Sink

NOTHING: tuple[Any, ...] = ()


class Fold(Sink):
    """Folds each row into a state with `add`.

    Args:
        init: Creates the state for no rows.
        add: Takes the state and a row, and returns the new state.
        merge: Takes the states of some rows and of later rows, and returns the state of both. None: `add`.
    """

    def __init__(
        self,
        init: Callable[[], Any],
        add: Callable[[Any, Any], Any],
        merge: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self._init, self._add, self._merge = init, add, merge or add

    def init(self) -> Any:
        return self._init()

    def add(self, state: Any, row: Any) -> Any:
        return self._add(state, row)

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        return functools.reduce(self._add, rows, state)

    def merge(self, state: Any, other: Any) -> Any:
        return self._merge(state, other)

    def __str__(self) -> str:
        return f"fold({name_of(self._add)})"


class Combine(Sink):
    """Combines all rows with an associative function of two; None if there are none."""

    def __init__(self, f: Callable[[Any, Any], Any]) -> None:
        self.f = f

    def init(self) -> tuple[Any, ...]:
        return NOTHING

    def add(self, state: tuple[Any, ...], row: Any) -> tuple[Any, ...]:
        return (self.f(state[0], row),) if state else (row,)

    def add_all(self, state: tuple[Any, ...], rows: Iterable[Any]) -> tuple[Any, ...]:
        rows = iter(rows)
        for first in state or rows:
            return (functools.reduce(self.f, rows, first),)
        return state

    def merge(self, state: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.add(state, other[0]) if other else state

    def finish(self, state: tuple[Any, ...]) -> Any:
        return state[0] if state else None

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()}({name_of(self.f)})"


class Reduce(Combine):
    """As `Combine`, but no rows are a TypeError, as for `functools.reduce`."""

    def finish(self, state: tuple[Any, ...]) -> Any:
        if not state:
            raise TypeError("reduce got a stream without rows; use combine, or fold with an initial state")
        return state[0]


class All(Sink):
    """Whether the condition is true for all rows; True if there are none."""

    def __init__(self, condition: Callable[[Any], object] = bool) -> None:
        self.condition = condition

    def init(self) -> bool:
        return True

    def add(self, state: bool, row: Any) -> bool:
        return state and bool(self.condition(row))

    def add_all(self, state: bool, rows: Iterable[Any]) -> bool:
        return state and builtins.all(map(self.condition, rows))

    def merge(self, state: bool, other: bool) -> bool:
        return state and other


class Any_(Sink):
    """Whether the condition is true for any row; False if there are none."""

    def __init__(self, condition: Callable[[Any], object] = bool) -> None:
        self.condition = condition

    def init(self) -> bool:
        return False

    def add(self, state: bool, row: Any) -> bool:
        return state or bool(self.condition(row))

    def add_all(self, state: bool, rows: Iterable[Any]) -> bool:
        return state or builtins.any(map(self.condition, rows))

    def merge(self, state: bool, other: bool) -> bool:
        return state or other

    def __str__(self) -> str:
        return "any"


class ForEach(Sink):
    """Calls a function with each row for its side effects; the result is None."""

    def __init__(self, f: Callable[[Any], object]) -> None:
        self.f = f

    def init(self) -> None:
        return None

    def add(self, state: None, row: Any) -> None:
        self.f(row)

    def add_all(self, state: None, rows: Iterable[Any]) -> None:
        deque(map(self.f, rows), maxlen=0)

    def merge(self, state: None, other: None) -> None:
        return None

    def __str__(self) -> str:
        return f"for_each({name_of(self.f)})"
