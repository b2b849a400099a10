"""Memory for what is received."""

from __future__ import annotations

import ctypes
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Of what is kept to be used again: one piece, and all of them. Less malloc does not give back to the system
# anyway; more would be too much for what may never be wanted again.
LEAST_BYTES, MOST_BYTES = 1 << 17, 16 << 20

_make: Callable[[None, int], bytearray] = ctypes.pythonapi.PyByteArray_FromStringAndSize
_make.restype = ctypes.py_object  # type: ignore[attr-defined]
_make.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)  # type: ignore[attr-defined]
_kept: dict[int, list[bytearray]] = {}  # by their size
_lent: dict[int, weakref.ref[Any]] = {}


def blank(nbytes: int) -> Any:
    """So many bytes, a buffer, with whatever was in them, to be overwritten as a whole. Thread-safe.

    `bytearray(nbytes)` is zeroed, and a large one taken anew from the system, with a page fault for each
    4 KiB: for 8 MiB, 3 ms, as long as it takes to receive them by TCP. So a large one that nothing refers
    to any more is kept for the next of its size.
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
    buffer = (ctypes.c_ubyte * nbytes).from_buffer(block)  # unlike a bytearray it may be referred to weakly
    key = id(buffer)

    def finalized(_: object) -> None:  # by the garbage collector, in any thread, at any time
        del _lent[key]
        sizes = list(_kept.items())
        if nbytes + sum(size * len(blocks) for size, blocks in sizes) > MOST_BYTES:
            if len(sizes) == 1 and nbytes in _kept:
                return
            _kept.clear()  # of sizes that came before
        _kept.setdefault(nbytes, []).append(block)

    _lent[key] = weakref.ref(buffer, finalized)
    return buffer
