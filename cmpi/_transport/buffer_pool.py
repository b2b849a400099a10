"""Buffers for received data, which are reused."""

from __future__ import annotations

import ctypes
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Sizes of the buffers that are kept: of one, and of all together. malloc does not return smaller ones to
# the system anyway; more would waste memory on buffers that may never be needed again.
LEAST_BYTES, MOST_BYTES = 1 << 17, 16 << 20

_make: Callable[[None, int], bytearray] = ctypes.pythonapi.PyByteArray_FromStringAndSize
_make.restype = ctypes.py_object  # type: ignore[attr-defined]
_make.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)  # type: ignore[attr-defined]
_kept: dict[int, list[bytearray]] = {}  # by their size
_lent: dict[int, weakref.ref[Any]] = {}


def blank(nbytes: int) -> Any:
    """Return an uninitialised buffer of this size, which the caller must overwrite. Thread-safe.

    `bytearray(nbytes)` is zeroed, and a large one is mapped anew, with a page fault for each 4 KiB: 3 ms
    for 8 MiB, as long as receiving them by TCP. A large buffer that nothing refers to any more is therefore
    kept for the next one of its size.
    Source: the C API's PyByteArray_FromStringAndSize, whose string may be NULL.

    >>> len(blank(1000)), len(blank(1 << 20)), len(blank(0))
    (1000, 1048576, 0)
    """
    if not LEAST_BYTES <= nbytes <= MOST_BYTES:
        return _make(None, nbytes)
    try:
        block = _kept[nbytes].pop()
    except (KeyError, IndexError):
        block = _make(None, nbytes)
    # Unlike a bytearray, this can be referenced weakly.
    buffer = (ctypes.c_ubyte * nbytes).from_buffer(block)
    key = id(buffer)

    def finalized(_: object) -> None:  # called by the garbage collector, in any thread, at any time
        del _lent[key]
        sizes = list(_kept.items())
        if nbytes + sum(size * len(blocks) for size, blocks in sizes) > MOST_BYTES:
            if len(sizes) == 1 and nbytes in _kept:
                return
            _kept.clear()  # buffers of earlier sizes
        _kept.setdefault(nbytes, []).append(block)

    _lent[key] = weakref.ref(buffer, finalized)
    return buffer
