"""Keys of operators: finds a key in a row, and the rest of the row."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

Key = Callable[[Any], Any] | int | str | tuple[str, ...] | None


def key_function(key: Key) -> Callable[[Any], Any]:
    """Return the function for a key: a function itself, an item by its index, a column by its name (of a
    mapping or an object with attributes), several columns by a tuple of names, or for None the row itself.

    Raises:
        TypeError: The key is none of these.
    """
    if key is None:
        return identity
    if isinstance(key, int) and not isinstance(key, bool):
        return operator.itemgetter(key)
    if isinstance(key, str):
        return Column(key)
    if callable(key):
        return key
    if names := names_of_key(key):
        return Columns(names)
    raise TypeError(f"a key is a function, an index, a column's name, several names or None; found {key!r}")


def names_of_key(key: Key) -> tuple[str, ...] | None:
    """The columns of a key that names some, or None."""
    if isinstance(key, str):
        return (key,)
    named = isinstance(key, tuple) and key and all(isinstance(name, str) for name in key)
    return key if named else None  # type: ignore[return-value]


def rest_function(key: Key) -> Callable[[Any], Any]:
    """Return the function for the part of a row that goes into the sink of its group: if the key is an
    index, the other item of a pair or a tuple of the other items; otherwise the whole row."""
    return Rest(key) if isinstance(key, int) and not isinstance(key, bool) else identity


def identity(row: Any) -> Any:
    """The row."""
    return row


class Column:
    """Takes a column out of a row."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, row: Any) -> Any:
        return row[self.name] if isinstance(row, Mapping) else getattr(row, self.name)

    def __repr__(self) -> str:
        return self.name


class Columns:
    """Takes several columns out of a row, as a tuple; a single one by itself."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._of_mapping = operator.itemgetter(*names)
        self._of_object = operator.attrgetter(*names)

    def __call__(self, row: Any) -> Any:
        return self._of_mapping(row) if isinstance(row, Mapping) else self._of_object(row)

    def __repr__(self) -> str:
        return ", ".join(self.names)


class Rest:
    """Takes the items of a row that are not its key."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, row: Any) -> Any:
        if len(row) == 2:
            return row[1 - self.index % 2]
        index = self.index % len(row)
        return (*row[:index], *row[index + 1 :])


def name_of(function: object) -> str:
    """A function's name as plans show it."""
    name = getattr(function, "__qualname__", None)
    return str(name).rpartition("<locals>.")[2] if name else repr(function)
