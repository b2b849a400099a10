"""Records: the rows of tables. A record is a named tuple that can be sent to any process."""

from __future__ import annotations

import operator
from collections import namedtuple
from collections.abc import Callable, Mapping
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
