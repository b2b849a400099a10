"""Expressions over columns: unlike a lambda they can be shown, and pushed down into a columnar source."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from cmpi._core.data.keys import Column

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _junction(left: Any, right: Any, decides: bool) -> Any:
    """`&` (False decides) or `|` (True decides) in three-valued logic, as in SQL and Arrow."""
    for value in (left, right):
        if value is not None and bool(value) is decides:
            return decides
    return None if left is None or right is None else not decides


class Expression:
    """A value computed from each row: a column, or operators applied to columns and constants.

    `==`, `!=`, `<`, `<=`, `>`, `>=`, `+`, `-`, `*`, `&` (and), `|` (or) and `~` (not) make expressions;
    parentheses are needed around comparisons next to `&` and `|`. A comparison with None is never true.

    >>> (col("ms") > 100) & (col("url") != "/")
    ((ms > 100) & (url != '/'))
    """

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, row: Any) -> Any:
        """The value for one row."""
        raise NotImplementedError

    def columns(self) -> set[str]:
        """The names of the columns that it needs."""
        raise NotImplementedError

    def arrow(self, field: Callable[[str], Any]) -> Any:
        """The equivalent pyarrow expression; `field` is `pyarrow.compute.field`."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value: combine expressions by &, | and ~, not and, or, not")

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return Binary("==", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Binary("!=", self, other)

    def __lt__(self, other: object) -> Expression:
        return Binary("<", self, other)

    def __le__(self, other: object) -> Expression:
        return Binary("<=", self, other)

    def __gt__(self, other: object) -> Expression:
        return Binary(">", self, other)

    def __ge__(self, other: object) -> Expression:
        return Binary(">=", self, other)

    def __add__(self, other: object) -> Expression:
        return Binary("+", self, other)

    def __sub__(self, other: object) -> Expression:
        return Binary("-", self, other)

    def __mul__(self, other: object) -> Expression:
        return Binary("*", self, other)

    def __and__(self, other: object) -> Expression:
        return Binary("&", self, other)

    def __or__(self, other: object) -> Expression:
        return Binary("|", self, other)

    def __invert__(self) -> Expression:
        return Not(self)


class Field(Expression):
    """A column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._take = Column(name)

    def __call__(self, row: Any) -> Any:
        return self._take(row)

    def columns(self) -> set[str]:
        return {self.name}

    def arrow(self, field: Callable[[str], Any]) -> Any:
        return field(self.name)

    def __repr__(self) -> str:
        return self.name


class Binary(Expression):
    """An operator with two operands, of which the second may be a constant."""

    def __init__(self, name: str, left: Expression, right: object) -> None:
        self.name, self.left, self.right = name, left, right

    def __call__(self, row: Any) -> Any:
        left = self.left(row)
        right = self.right(row) if isinstance(self.right, Expression) else self.right
        if self.name in "&|":
            return _junction(left, right, self.name == "|")
        if left is None or right is None:
            return None
        return OPERATORS[self.name](left, right)

    def columns(self) -> set[str]:
        right = self.right.columns() if isinstance(self.right, Expression) else set()
        return self.left.columns() | right

    def arrow(self, field: Callable[[str], Any]) -> Any:
        left = self.left.arrow(field)
        right = self.right.arrow(field) if isinstance(self.right, Expression) else self.right
        if self.name in "&|":
            return left & right if self.name == "&" else left | right
        return OPERATORS[self.name](left, right)

    def __repr__(self) -> str:
        return f"({self.left!r} {self.name} {self.right!r})"


class Not(Expression):
    """The negation of a condition; unknown if the condition is unknown because a value is missing."""

    def __init__(self, of: Expression) -> None:
        self.of = of

    def __call__(self, row: Any) -> Any:
        value = self.of(row)
        return None if value is None else not value

    def columns(self) -> set[str]:
        return self.of.columns()

    def arrow(self, field: Callable[[str], Any]) -> Any:
        return ~self.of.arrow(field)

    def __repr__(self) -> str:
        return f"~{self.of!r}"


def can_be_true(condition: Expression, known: Mapping[str, Any]) -> bool:
    """Whether a condition can be true for any row with these values in some of its columns.

    >>> can_be_true((col("year") == 2024) & (col("ms") > 100), {"year": 2023})
    False
    """
    return any(value is not None and bool(value) for value in _outcomes(condition, known))


def _outcomes(condition: Expression, known: Mapping[str, Any]) -> list[Any]:
    """The values that a condition can have."""
    if condition.columns() <= set(known):
        try:
            return [condition(known)]
        except Exception:  # the reader will find the same error, or another one
            return [True, False, None]
    if isinstance(condition, Not):
        return [None if value is None else not value for value in _outcomes(condition.of, known)]
    if isinstance(condition, Binary) and condition.name in "&|" and isinstance(condition.right, Expression):
        left, right = _outcomes(condition.left, known), _outcomes(condition.right, known)
        return [_junction(a, b, condition.name == "|") for a in left for b in right]
    return [True, False, None]


def col(name: str) -> Expression:
    """Return the column of this name, for `filter`: `stream.filter(col("ms") > 100)`."""
    return Field(name)
