"""The functions of a pool's tasks: each is pickled once, and sent to each worker once."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from cmpi.pool.shared import Packed, SharedBuffers

MAX_KEPT = 256


class Functions:
    """Gives numbers to functions. Thread-safe.

    Args:
        buffers: Hoists the large arrays that functions capture.

    Functions are compared by identity. A function is forgotten when the object has gone and its tasks are
    finished. Other callables (bound methods, partials, instances) have state that may have changed, so they
    are sent with each task.
    """

    def __init__(self, buffers: SharedBuffers) -> None:
        self._buffers = buffers
        self._lock = threading.RLock()  # a finalizer may submit a task while it is held
        self._kept: OrderedDict[int, tuple[int, weakref.ref[Any]]] = OrderedDict()  # by id
        self._keys: dict[int, int] = {}  # ids, by number
        self._bodies: dict[int, Packed] = {}
        self._uses: dict[int, int] = {}
        self._gone: deque[int] = deque()  # numbers of functions that do not exist any more
        self._next = 0

    def number(self, function: Callable[..., Any]) -> int | None:
        """Return the function's number, to be released by `release`; None: send it with each task.

        Raises: NotPicklable.
        """
        if not isinstance(function, (FunctionType, BuiltinFunctionType, type)):
            return None
        number = self._used(function)
        if number is None:
            packed = self._buffers.pack(function, "the function", hoist=True)
            with self._lock:
                number = self._used(function)  # another thread may have been faster
                if number is None:
                    number = self._add(function, packed)
        return number

    def _used(self, function: Callable[..., Any]) -> int | None:
        """The function's number, counting one more task; None if it has none."""
        with self._lock:
            found = self._kept.get(id(function))
            if found is None or found[1]() is not function:
                return None
            self._kept.move_to_end(id(function))
            self._uses[found[0]] += 1
            return found[0]

    def _add(self, function: Callable[..., Any], packed: Packed) -> int:
        number, gone = self._next, self._gone
        self._next += 1

        def finalized(_: object) -> None:
            gone.append(number)

        self._bodies[number], self._uses[number] = packed, 1
        self._kept[id(function)] = number, weakref.ref(function, finalized)
        self._keys[number] = id(function)
        return number

    def release(self, number: int) -> list[int]:
        """Release the function of a finished task; returns the numbers of functions that are now
        forgotten."""
        with self._lock:
            self._uses[number] -= 1
            forgotten, in_use = [], []
            while self._gone:
                gone = self._gone.popleft()
                if self._uses.get(gone):
                    in_use.append(gone)
                elif self._forget(gone):
                    forgotten.append(gone)
            self._gone.extend(in_use)
            while len(self._kept) > MAX_KEPT:
                oldest, _ = next(iter(self._kept.values()))
                if self._uses[oldest]:
                    break
                self._forget(oldest)
                forgotten.append(oldest)
            return forgotten

    def _forget(self, number: int) -> bool:
        """Forget a function; False if it was forgotten before."""
        key = self._keys.pop(number, None)
        if key is None:
            return False
        found = self._kept.get(key)
        if found is not None and found[0] == number:  # otherwise another function now has its place and id
            del self._kept[key]
        del self._bodies[number], self._uses[number]
        return True

    def body(self, number: int) -> Packed:
        """The record that is sent for a function."""
        return self._bodies[number]


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that was sent with its task."""
    return function(*args, **kwargs)
