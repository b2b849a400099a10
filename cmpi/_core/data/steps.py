"""Steps: what happens to each row, or to each batch of rows, of a split. Fused, they are one pipeline of
iterators that run in C."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cmpi._core.data.expressions import Expression
from cmpi._core.data.keys import name_of
from cmpi._core.data.records import selector

Note = Callable[[Exception], object]  # takes the exception of a row that is left out


class Step:
    """A step of a pipeline. `step | step` is both, one after the other; `step | sink` is a sink."""

    reads_ahead = False  # whether it takes rows that it has not passed on

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Yield the rows that these rows become."""
        raise NotImplementedError

    def guarded(self, note: Note) -> Step:
        """The same step, but a row for which the user's function raises is passed to `note` and left
        out."""
        return self

    def steps(self) -> tuple[Step, ...]:
        """The single steps that it consists of."""
        return (self,)

    def __or__(self, after: Any) -> Any:
        return Steps((*self.steps(), *after.steps())) if isinstance(after, Step) else NotImplemented


@dataclass(frozen=True)
class Steps(Step):
    """Steps one after another."""

    all: tuple[Step, ...] = ()

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        for step in self.all:
            rows = step.over(rows)
        return rows

    def guarded(self, note: Note) -> Step:
        return Steps(tuple(step.guarded(note) for step in self.all))

    def steps(self) -> tuple[Step, ...]:
        return self.all

    @property
    def reads_ahead(self) -> bool:  # type: ignore[override]
        return any(step.reads_ahead for step in self.all)

    def __str__(self) -> str:
        return " | ".join(map(str, self.all))


@dataclass(frozen=True)
class Map(Step):
    """`f` of each row."""

    f: Callable[[Any], Any]

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return map(self.f, rows)

    def guarded(self, note: Note) -> Step:
        f = self.f
        return FlatMap(lambda row: (f(row),)).guarded(note)

    def __str__(self) -> str:
        return f"map {name_of(self.f)}"


@dataclass(frozen=True)
class FlatMap(Step):
    """All rows of the iterable that `f` makes of each row."""

    f: Callable[[Any], Iterable[Any]]

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return itertools.chain.from_iterable(map(self.f, rows))

    def guarded(self, note: Note) -> Step:
        f = self.f

        def guard(row: Any) -> Iterable[Any]:
            try:
                return list(f(row))
            except Exception as error:
                note(error)
                return ()

        return FlatMap(guard)

    def __str__(self) -> str:
        return f"flat_map {name_of(self.f)}"


@dataclass(frozen=True)
class Filter(Step):
    """The rows for which `f` is true."""

    f: Callable[[Any], Any]

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return filter(self.f, rows)

    def guarded(self, note: Note) -> Step:
        f = self.f

        def guard(row: Any) -> Any:
            try:
                return f(row)
            except Exception as error:
                note(error)
                return False

        return Filter(guard)

    @property
    def expression(self) -> Expression | None:
        """The condition, if it can be pushed down into a source."""
        return self.f if isinstance(self.f, Expression) else None

    def __str__(self) -> str:
        return f"filter {name_of(self.f)}"


@dataclass(frozen=True)
class Inspect(Step):
    """The same rows; `f` is called with each. Changes that it makes to them remain (`update`); its return
    value is ignored."""

    f: Callable[[Any], object]
    word: str = "inspect"

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return map(self._call, rows)

    def guarded(self, note: Note) -> Step:
        return Map(self._call).guarded(note)

    def _call(self, row: Any) -> Any:
        self.f(row)
        return row

    def __str__(self) -> str:
        return f"{self.word} {name_of(self.f)}"


@dataclass(frozen=True)
class Select(Step):
    """Records of these columns only."""

    names: tuple[str, ...]

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return map(selector(self.names), rows)

    def guarded(self, note: Note) -> Step:
        return Map(selector(self.names)).guarded(note)

    def __str__(self) -> str:
        return f"select {', '.join(self.names)}"


@dataclass(frozen=True)
class Batch(Step):
    """Lists of `n` rows; the last list of a split may be shorter."""

    n: int
    reads_ahead = True

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return iter(lambda: list(itertools.islice(rows, self.n)), [])

    def __str__(self) -> str:
        return f"batch {self.n}"


@dataclass(frozen=True)
class Limit(Step):
    """The first `n` rows of a split."""

    n: int

    def over(self, rows: Iterator[Any]) -> Iterator[Any]:
        return itertools.islice(rows, self.n)

    def __str__(self) -> str:
        return f"limit {self.n}"
