"""Reads one split: keeps track of the place of its rows, and handles bad rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cmpi._core.data.steps import Steps
from cmpi.data.errors import BadRow, DatabaseError, Misplaced, UnreadableFile, described

Place = tuple[str, int]  # a file or "", and the number of a line or row from 1, or 0


class Reading:
    """The state of reading one split.

    Args:
        on_error: "raise", "skip" or "collect": see `Stream.options`.
        columnar: Whether the split may be read in columns. That is only so if bad rows need not be left
            out one by one.

    Attributes:
        where: Returns the place of the row that was read last; set by the split's `rows`.
        bad: The bad rows, if they are collected.
        rows: How many rows were read, if the split counts them.
    """

    def __init__(self, on_error: str = "raise", columnar: bool = True) -> None:
        self.on_error = on_error
        self.columnar = columnar and on_error == "raise"
        self.where: Callable[[], Place] = lambda: ("", 0)
        self.bad: list[BadRow] = []
        self.rows = 0
        self._owned: list[Iterator[Any]] = []

    def own(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Close the generator when the split has been read, or its reading has failed; otherwise the
        traceback of an error would keep it, and what it has open."""
        self._owned.append(batches)
        return batches

    def close(self) -> None:
        """Close what is owned."""
        for each in self._owned:
            each.close()  # type: ignore[attr-defined]

    def reject(self, error: BadRow, cause: BaseException | None = None) -> None:
        """Raise the error, or leave its row out. Raises: BadRow."""
        if self.on_error == "raise":
            raise error from cause
        if self.on_error == "collect":
            self.bad.append(error)

    def failed(self, error: Exception, near: bool = False) -> BadRow:
        """The error for an exception that a user's function raised for the row read last."""
        return BadRow(described(error), *self.where(), near=near)

    def note(self, error: Exception) -> None:
        """Leave out the row for which a user's function raised."""
        if not isinstance(error, (BadRow, UnreadableFile, DatabaseError, Misplaced)):
            self.reject(self.failed(error))

    def through(self, rows: Iterable[Any], steps: Steps) -> Iterator[Any]:
        """Apply steps to the rows."""
        step = steps if self.on_error == "raise" else steps.guarded(self.note)
        return step.over(iter(rows))

    def numbered(self, items: list[Any]) -> Iterator[Any]:
        """Yield the items; their places are their numbers."""
        iterator: Any = iter(items)
        self.rows += len(items)
        self.where = lambda: ("", len(items) - iterator.__length_hint__())
        return iterator  # type: ignore[no-any-return]

    def lists(self, lists: Iterable[list[Any]], place: Callable[[int], Place]) -> Iterator[Any]:
        """Yield the items of all lists. `place` returns the place of the i-th item in the list taken
        last."""
        current: list[Any] = []
        iterator: Any = iter(current)

        def begin() -> Iterator[Iterator[Any]]:
            nonlocal current, iterator
            for current in lists:
                iterator = iter(current)
                self.rows += len(current)
                yield iterator

        def where() -> Place:
            return place(len(current) - iterator.__length_hint__() - 1)

        self.where = where
        return itertools.chain.from_iterable(begin())
