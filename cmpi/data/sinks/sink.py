"""The base class of sinks, and sinks composed of other sinks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from cmpi._core.data.keys import Key, key_function, rest_function
from cmpi._core.data.plan import show_key
from cmpi._core.data.steps import Step, Steps

CHUNK = 1024  # rows that one sink of a fork takes before the next one does


class Sink:
    """Reduces rows to a result. Derive from it to write your own.

    Each split has its own state: `init` creates it, `add` adds a row to it, and `merge` combines two
    states, the first of which is for earlier rows. `finish` turns the final state into the result. A
    state may be changed in place and returned; it must be picklable. The sink itself must not change.

    The result must not depend on the splits. Therefore merging the states of two runs of rows must give the
    same as adding all rows to one state, and merging with `init()` must change nothing.

    >>> class Longest(Sink):
    ...     def init(self): return ""
    ...     def add(self, state, row): return max(state, row, key=len)
    ...     def merge(self, state, other): return max(state, other, key=len)
    """

    reads_ahead = False  # whether it takes rows before it examines them
    # How to compute it from columns, if possible: pairs of a column ("" for the rows themselves) and an
    # Arrow aggregation; `from_arrow` makes a state of the resulting values.
    aggregations: tuple[tuple[str, str], ...] = ()

    def init(self) -> Any:
        """The state for no rows."""
        raise NotImplementedError

    def add(self, state: Any, row: Any) -> Any:
        """The state with one more row."""
        raise NotImplementedError

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        """The state with more rows. Override it if there is a faster way than row by row."""
        add = self.add
        for row in rows:
            state = add(state, row)
        return state

    def add_by_key(self, states: Any, rows: Iterable[Any], key_of: Any, value_of: Any) -> None:
        """Add the value of each row to the state of its key, changing the dict `states`."""
        add, init = self.add, self.init
        for row in rows:
            key = key_of(row)
            states[key] = add(states[key] if key in states else init(), value_of(row))

    def merge(self, state: Any, other: Any) -> Any:
        """The state for the rows of both; those of `other` came later."""
        raise NotImplementedError

    def merge_by_key(self, states: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Merge states of later rows into those of the same keys, changing the dict `states`."""
        merge = self.merge
        for key, state in pairs:
            states[key] = merge(states[key], state) if key in states else state

    def finish(self, state: Any) -> Any:
        """The result; by default the state itself."""
        return state

    def from_arrow(self, values: tuple[Any, ...]) -> Any:
        """The state for the values of `aggregations`."""
        raise NotImplementedError

    def results_from_arrow(self, *columns: list[Any]) -> Iterator[Any]:
        """The results for whole columns of the values of `aggregations`."""
        return map(self.finish, map(self.from_arrow, zip(*columns)))

    def __ror__(self, step: Any) -> Piped:
        return Piped(Steps(step.steps()), self) if isinstance(step, Step) else NotImplemented

    def __str__(self) -> str:
        return type(self).__name__.lower()


class Piped(Sink):
    """A sink after steps, made by `data.filter(bad) | data.count()`."""

    def __init__(self, steps: Steps, sink: Sink) -> None:
        self.steps, self.sink = steps, sink
        self.reads_ahead = steps.reads_ahead or sink.reads_ahead

    def init(self) -> Any:
        return self.sink.init()

    def add(self, state: Any, row: Any) -> Any:
        return self.add_all(state, (row,))

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        return self.sink.add_all(state, self.steps.over(iter(rows)))

    def merge(self, state: Any, other: Any) -> Any:
        return self.sink.merge(state, other)

    def finish(self, state: Any) -> Any:
        return self.sink.finish(state)

    def __str__(self) -> str:
        return f"{self.steps} | {self.sink}"


class Fork(Sink):
    """Several sinks that see the same rows in one pass. The result is a tuple of their results; forks can
    be nested."""

    reads_ahead = True

    def __init__(self, *sinks: Sink) -> None:
        for sink in sinks:
            if not isinstance(sink, Sink):
                raise TypeError(f"fork needs sinks, such as data.count(); found {sink!r}")
        self.sinks = sinks
        if all(sink.aggregations for sink in sinks):
            self.aggregations = tuple(each for sink in sinks for each in sink.aggregations)

    def init(self) -> Any:
        return [sink.init() for sink in self.sinks]

    def add(self, state: Any, row: Any) -> Any:
        return [sink.add(each, row) for sink, each in zip(self.sinks, state)]

    def add_all(self, state: Any, rows: Iterable[Any]) -> Any:
        iterator = iter(rows)
        while chunk := list(itertools.islice(iterator, CHUNK)):
            state = [sink.add_all(each, chunk) for sink, each in zip(self.sinks, state)]
        return state

    def merge(self, state: Any, other: Any) -> Any:
        return [sink.merge(a, b) for sink, a, b in zip(self.sinks, state, other)]

    def finish(self, state: Any) -> Any:
        return tuple(sink.finish(each) for sink, each in zip(self.sinks, state))

    def from_arrow(self, values: tuple[Any, ...]) -> Any:
        rest: Iterator[Any] = iter(values)
        return [
            sink.from_arrow(tuple(itertools.islice(rest, len(sink.aggregations)))) for sink in self.sinks
        ]

    def results_from_arrow(self, *columns: list[Any]) -> Iterator[Any]:
        rest = iter(columns)
        return zip(
            *(
                sink.results_from_arrow(*itertools.islice(rest, len(sink.aggregations)))
                for sink in self.sinks
            )
        )

    def __str__(self) -> str:
        return f"fork({', '.join(map(str, self.sinks))})"


class GroupInto(Sink):
    """A dict from each key to the result of a sink over the rows of that key, all in memory.

    Args:
        key: A function, an index, a column's name, or None for the row itself.
        into: The sink for each key.
        value: The part of a row that goes into the sink. By default the whole row; if the key is an index,
            the rest of the row: the other item of a pair, or a tuple of the others.

    To group a stream with more keys than fit into memory, use `Stream.group_by`.
    """

    def __init__(self, key: Key = None, *, into: Sink, value: Key = None) -> None:
        self.key, self.into = key, into
        self._key = key_function(key)
        self._value = rest_function(key) if value is None else key_function(value)

    def init(self) -> dict[Any, Any]:
        return Counter()  # a dict that counts in C

    def add(self, state: dict[Any, Any], row: Any) -> dict[Any, Any]:
        return self.add_all(state, (row,))

    def add_all(self, state: dict[Any, Any], rows: Iterable[Any]) -> dict[Any, Any]:
        self.into.add_by_key(state, rows, self._key, self._value)
        return state

    def merge(self, state: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        for key, theirs in other.items():
            state[key] = self.into.merge(state[key], theirs) if key in state else theirs
        return state

    def finish(self, state: dict[Any, Any]) -> dict[Any, Any]:
        return {key: self.into.finish(each) for key, each in state.items()}

    def __str__(self) -> str:
        return f"group_by({show_key(self.key)}, into={self.into})"
