"""The functions of a pool's tasks: each is pickled once, and sent to each worker once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from cmpi.pool.shared import Packed, SharedBuffers

MAX_KEPT = 256


class Functions:
    """Numbers for functions. Not thread-safe.

    Args:
        buffers: Where the large arrays that they capture are hoisted to.

    A function counts as the same as long as it is the same object. Other callables (bound methods,
    partials, instances) hold state that may have changed since, and travel with each task.
    """

    def __init__(self, buffers: SharedBuffers) -> None:
        self._buffers = buffers
        self._kept: OrderedDict[int, tuple[int, Any]] = OrderedDict()  # by id: a function lives as long
        self._bodies: dict[int, Packed] = {}
        self._uses: dict[int, int] = {}
        self._next = 0

    def number(self, function: Callable[..., Any]) -> int | None:
        """Its number, which `release` takes back; None if it is to travel with each task.

        Raises: NotPicklable.
        """
        if not isinstance(function, (FunctionType, BuiltinFunctionType, type)):
            return None
        key = id(function)
        found = self._kept.get(key)
        if found is None:
            self._bodies[self._next] = self._buffers.pack(function, "the function", hoist=True)
            found = self._kept[key] = (self._next, function)
            self._uses[self._next] = 0
            self._next += 1
        else:
            self._kept.move_to_end(key)
        self._uses[found[0]] += 1
        return found[0]

    def release(self, number: int) -> list[int]:
        """A task with this function is over; the numbers of functions that are forgotten now."""
        self._uses[number] -= 1
        forgotten = []
        while len(self._kept) > MAX_KEPT:
            key, (oldest, _) = next(iter(self._kept.items()))
            if self._uses[oldest]:
                break
            del self._kept[key], self._bodies[oldest], self._uses[oldest]
            forgotten.append(oldest)
        return forgotten

    def body(self, number: int) -> Packed:
        """What is sent for it."""
        return self._bodies[number]


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that has come with its task."""
    return function(*args, **kwargs)
