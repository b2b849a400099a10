"""Memory for what is received."""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_make: Callable[[None, int], bytearray] = ctypes.pythonapi.PyByteArray_FromStringAndSize
_make.restype = ctypes.py_object  # type: ignore[attr-defined]
_make.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)  # type: ignore[attr-defined]


def blank(nbytes: int) -> bytearray:
    """So many bytes with whatever was in them, to be overwritten as a whole.

    `bytearray(nbytes)` has them zeroed, and large ones taken anew from the system with each message: for
    8 MiB that takes as long as a part of receiving them.
    Source: the C API's PyByteArray_FromStringAndSize, whose string may be NULL.

    >>> len(blank(1000)), type(blank(0))
    (1000, <class 'bytearray'>)
    """
    return _make(None, nbytes)
