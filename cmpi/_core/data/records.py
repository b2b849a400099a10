"""Records: the rows of tables. A record is a named tuple that can be sent to any process."""

from __future__ import annotations

import operator
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from cmpi._core.data.keys import Column


@lru_cache(maxsize=256)
def record_type(names: tuple[str, ...]) -> Any:
    """The class of records with these columns.

    A name that is no identifier, is repeated or begins with an underscore cannot be an attribute: its
    column is `_0`, `_1`... by its position.

    >>> e = record_type(("url", "ms"))._make(["/", 3])
    >>> e.ms, e[0], e == ("/", 3), e
    (3, '/', True, Record(url='/', ms=3))
    """
    base = namedtuple("Record", names, rename=True)  # type: ignore[misc]

    def reduce(record: Any) -> Any:
        return make_record, (names, tuple(record))

    return type("Record", (base,), {"__slots__": (), "__reduce__": reduce})


def make_record(names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """A record of these columns."""
    return record_type(names)._make(values)


def selector(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """A function from a row to the record of some of its columns."""
    make = record_type(names)._make
    by_attribute = operator.attrgetter(*names) if len(names) > 1 else None
    takes = [Column(name) for name in names]

    def select(row: Any) -> Any:
        if by_attribute is not None and not isinstance(row, Mapping):
            return make(by_attribute(row))
        return make(take(row) for take in takes)

    return select


def names_of(row: Any) -> tuple[str, ...]:
    """The names of a row's columns. Raises: TypeError: It is neither a record nor a dict."""
    found = tuple(row) if isinstance(row, Mapping) else getattr(row, "_fields", None)
    if found is None:
        raise TypeError(
            f"a join on columns needs records or dicts; found a {type(row).__name__}: {row!r:.60}. "
            "Use map() first, or join pairs (key, value) without on=."
        )
    return found


def joined_names(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of joined records, of which `right` are those of the right stream without its keys. If
    both have a column, that of the right stream gets another name.

    Raises:
        ValueError: That name occurs, too.

    >>> joined_names(("id", "at"), ("at", "ms"))
    ('id', 'at', 'at_right', 'ms')
    """
    names = (*left, *(f"{name}_right" if name in left else name for name in right))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the join would have two columns {twice!r}: leave one out with select()")
    return names


class JoinedRecords:
    """Makes a record of a row of the left stream and its partner, or None, in the right stream.

    Args:
        keys: The key columns of the right stream, which are left out.
        right: All columns of the right stream, for rows without a partner.
    """

    def __init__(self, keys: tuple[str, ...], right: tuple[str, ...]) -> None:
        self._rest = tuple(name for name in right if name not in keys)
        self._nothing = (None,) * len(self._rest)
        self._makers: dict[tuple[str, ...], Callable[[Any], Any]] = {}

    def __call__(self, left: Any, right: Any) -> Any:
        names = names_of(left)
        make = self._makers.get(names)
        if make is None:
            make = self._makers[names] = record_type(joined_names(names, self._rest))._make
        values = left.values() if isinstance(left, Mapping) else left
        return make((*values, *self._values(right)))

    def _values(self, right: Any) -> Iterable[Any]:
        if right is None:
            return self._nothing
        if isinstance(right, Mapping):
            return map(right.get, self._rest)
        return [getattr(right, name) for name in self._rest]
