"""Plans: the operations of a stream, as a tree of frozen nodes with the sources at its leaves; see
`optimise` for how one is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cmpi._core.data.expressions import Expression
from cmpi._core.data.keys import Key, name_of, names_of_key
from cmpi._core.data.steps import Step, Steps

if TYPE_CHECKING:
    from typing_extensions import Self


class Reader(Protocol):
    """Where rows come from.

    A reader whose splits can be read only for a time has `session` instead of `splits`: a method that
    returns a context manager with them.
    """

    def splits(self) -> Iterable[Any]:
        """The parts, each read by one worker, in the order of their rows."""

    def describe(self) -> str:
        """The source as plans show it."""


class ColumnarReader(Reader, Protocol):
    """A reader that reads only the columns that it is asked for, and leaves out rows by a condition."""

    def select(self, names: tuple[str, ...]) -> Self:
        """The same reader restricted to these columns."""

    def where(self, condition: Expression) -> Self | None:
        """The same reader restricted to rows for which the condition is true; None if it cannot do that."""


class PlanNode:
    """A node of a plan."""

    def parents(self) -> tuple[PlanNode, ...]:
        """The nodes that its rows come from."""
        return ()

    def __str__(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Source(PlanNode):
    """The rows of a reader."""

    reader: Reader

    def __str__(self) -> str:
        return self.reader.describe()


@dataclass(frozen=True)
class Apply(PlanNode):
    """Steps over each row of the parent."""

    parent: PlanNode
    steps: Steps

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return str(self.steps)


@dataclass(frozen=True)
class Chain(PlanNode):
    """The rows of several streams, one stream after the other."""

    streams: tuple[PlanNode, ...]

    def parents(self) -> tuple[PlanNode, ...]:
        return self.streams

    def __str__(self) -> str:
        return "chain"


@dataclass(frozen=True)
class Take(PlanNode):
    """The first `n` rows."""

    parent: PlanNode
    n: int

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return f"take {self.n}"


@dataclass(frozen=True)
class Enumerate(PlanNode):
    """Pairs of a row's number and the row."""

    parent: PlanNode
    start: int

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return f"enumerate from {self.start}"


@dataclass(frozen=True)
class Zip(PlanNode):
    """Pairs of the rows of two streams with the same number."""

    left: PlanNode
    right: PlanNode

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        return "zip: write both to disk"


@dataclass(frozen=True)
class Window(PlanNode):
    """Tuples of `n` consecutive rows; each begins `step` rows after the one before."""

    parent: PlanNode
    n: int
    step: int

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return f"window of {self.n}, every {self.step}: write to disk"


@dataclass(frozen=True)
class Repartition(PlanNode):
    """The same rows in splits of equal size, as far as possible."""

    parent: PlanNode
    n: int

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return f"repartition into {self.n} splits: write to disk"


@dataclass(frozen=True)
class GroupBy(PlanNode):
    """Pairs of a key and the result of a sink over the rows of that key. `sink` is a `cmpi.data.Sink`."""

    parent: PlanNode
    key: Key
    value: Key
    sink: Any
    combine: bool = False

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        how = "combine in each split, then " if self.combine else ""
        return f"group_by {show_key(self.key)} into {self.sink}: {how}shuffle"


@dataclass(frozen=True)
class Join(PlanNode):
    """`(k, (x, y))` for pairs `(k, x)` of the left and `(k, y)` of the right stream. `outer`: a pair of
    the left without a partner gives `(k, (x, None))`.

    Attributes:
        on: The key columns of the left and of the right stream, whose rows are then records or dicts, and
            whose partners become one record. None for pairs.
    """

    left: PlanNode
    right: PlanNode
    outer: bool
    on: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        on = "" if self.on is None else " on " + ", ".join(_equality(*each) for each in zip(*self.on))
        return f"{'left' if self.outer else 'inner'}_join{on}: shuffle both"


@dataclass(frozen=True)
class Sort(PlanNode):
    """The rows in the order of their keys."""

    parent: PlanNode
    key: Key
    reverse: bool

    def parents(self) -> tuple[PlanNode, ...]:
        return (self.parent,)

    def __str__(self) -> str:
        return f"sort by {show_key(self.key)}{', greatest first' if self.reverse else ''}"


def _equality(left: str, right: str) -> str:
    return left if left == right else f"{left} = {right}"


def apply(parent: PlanNode, step: Step) -> Apply:
    """A node for a step."""
    return Apply(parent, Steps(step.steps()))


def show_key(key: Key) -> str:
    """A key as plans show it."""
    if names := names_of_key(key):
        return ", ".join(names)
    return "the row" if key is None else str(key) if isinstance(key, int) else name_of(key)


def explain(node: PlanNode) -> str:
    """Show a plan as text: each node above its parents."""
    lines: list[str] = []

    def walk(node: PlanNode, depth: int) -> None:
        lines.append("   " * depth + ("└─ " if depth else "") + str(node))
        for parent in node.parents():
            walk(parent, depth + 1)

    walk(node, 0)
    return "\n".join(line[3:] if line.startswith("   ") else line for line in lines)
