"""How one split is read: where its rows are, and what becomes of bad ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cmpi._core.data.steps import Steps
from cmpi.data.errors import BadRow, UnreadableFile, described

Place = tuple[str, int]  # a file, or "", and the number of a line or row from 1, or 0


class Reading:
    """The reading of one split.

    Args:
        on_error: "raise", "skip" or "collect": see `Stream.options`.

    Attributes:
        where: Returns the place of the row that was read last. A split's `rows` sets it.
        bad: The bad rows, if they are collected.
        rows: How many rows were read, as far as the split counts them.
    """

    def __init__(self, on_error: str = "raise") -> None:
        self.on_error = on_error
        self.where: Callable[[], Place] = lambda: ("", 0)
        self.bad: list[BadRow] = []
        self.rows = 0

    def reject(self, error: BadRow, cause: BaseException | None = None) -> None:
        """Raise the error, or leave out its row. Raises: BadRow."""
        if self.on_error == "raise":
            raise error from cause
        if self.on_error == "collect":
            self.bad.append(error)

    def failed(self, error: Exception, near: bool = False) -> BadRow:
        """The error for a function of the user's that raised this one over the row that was read last."""
        return BadRow(described(error), *self.where(), near=near)

    def note(self, error: Exception) -> None:
        """Leave out the row for which a function of the user's raised."""
        if not isinstance(error, (BadRow, UnreadableFile)):
            self.reject(self.failed(error))

    def through(self, rows: Iterable[Any], steps: Steps) -> Iterator[Any]:
        """What steps make of the rows."""
        step = steps if self.on_error == "raise" else steps.guarded(self.note)
        return step.over(iter(rows))

    def numbered(self, items: list[Any]) -> Iterator[Any]:
        """The items; their places are their numbers."""
        iterator: Any = iter(items)
        self.rows += len(items)
        self.where = lambda: ("", len(items) - iterator.__length_hint__())
        return iterator  # type: ignore[no-any-return]

    def lists(self, lists: Iterable[list[Any]], place: Callable[[int], Place]) -> Iterator[Any]:
        """The items of all the lists. `place` gives the place of the i-th item of the list that was taken
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
