"""Numpy arrays to bytes and back without pickle: a short header, and the memory as it lies.

The header is a mark that no pickle begins with, then number of dimensions, order of the memory (C
or Fortran), the dtype as numpy writes it (`dtype.str`: kind, size, byte order), and the dimensions.
Ours: numpy's own format (NEP 1) is text that must be parsed, for files that are to last.
"""

from __future__ import annotations

import ctypes
import struct

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARK = 0x93
_HEAD = struct.Struct("<BBBB")
_KINDS = "biufcSUmM?"  # flat memory: no objects, no fields


def plain(array: np.ndarray[Any, Any]) -> bool:
    """Whether it can travel so: an array itself, not of a subclass, of one of numpy's own dtypes."""
    return type(array) is np.ndarray and array.dtype.kind in _KINDS


def reduce_as_writable(array: np.ndarray[Any, Any]) -> Any:
    """How to pickle an array that may not be written to (pandas hands such out): as one that may, since the
    receiver's copy is the receiver's own."""
    flags = array.flags
    if array.dtype.hasobject or not array.nbytes or not (flags.c_contiguous or flags.f_contiguous):
        return array.__reduce_ex__(5)  # which copies
    memory: Any = (ctypes.c_char * array.nbytes).from_address(array.__array_interface__["data"][0])
    memory.owner = array  # and with it the memory
    order: Any = "C" if flags.c_contiguous else "F"
    return np.ndarray(array.shape, array.dtype, memory, order=order).__reduce_ex__(5)


def pack(array: np.ndarray[Any, Any]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """The header, and the array with its elements side by side (itself, unless it is a slice)."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    if not fortran:
        array = np.ascontiguousarray(array).reshape(array.shape)
    dtype = array.dtype.str.encode("ascii")
    head = _HEAD.pack(MARK, array.ndim, fortran, len(dtype))
    return head + dtype + struct.pack(f"<{array.ndim}Q", *array.shape), array


def unpack(body: bytes, buffer: Any = None) -> np.ndarray[Any, Any]:
    """The array again, in the memory of `buffer`, or in a copy of what follows the header."""
    _, ndim, fortran, n = _HEAD.unpack_from(body)
    at = _HEAD.size + n
    dtype = np.dtype(body[_HEAD.size : at].decode("ascii"))
    shape = struct.unpack_from(f"<{ndim}Q", body, at)
    at += 8 * ndim
    data = bytearray(memoryview(body)[at:]) if buffer is None else buffer
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")
