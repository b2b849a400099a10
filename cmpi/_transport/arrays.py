"""Converts numpy arrays to bytes and back without pickle: a short header, and the array's memory.

The header is a byte that no pickle begins with, then the number of dimensions, the memory order (C or
Fortran), the dtype as numpy writes it (`dtype.str`: kind, size, byte order), and the dimensions. numpy's
own format (NEP 1) was rejected: it is made for files, and is text that must be parsed.
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
_KINDS = "biufcSUmM?"  # kinds with flat memory: no objects, no fields


def plain(array: np.ndarray[Any, Any]) -> bool:
    """Whether a value can be sent in this way: an ndarray (no subclass) with one of numpy's own dtypes."""
    return type(array) is np.ndarray and array.dtype.kind in _KINDS


def reduce_as_writable(array: np.ndarray[Any, Any]) -> Any:
    """Reduce a read-only array (such as pandas returns) to a writable one, since the receiver owns its
    copy."""
    flags = array.flags
    if array.dtype.hasobject or not array.nbytes or not (flags.c_contiguous or flags.f_contiguous):
        return array.__reduce_ex__(5)  # which copies
    memory: Any = (ctypes.c_char * array.nbytes).from_address(array.__array_interface__["data"][0])
    memory.owner = array  # keeps the memory alive
    order: Any = "C" if flags.c_contiguous else "F"
    return np.ndarray(array.shape, array.dtype, memory, order=order).__reduce_ex__(5)


def pack(array: np.ndarray[Any, Any]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Return the header and the array, as a contiguous copy if it is not contiguous."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    if not fortran:
        array = np.ascontiguousarray(array).reshape(array.shape)
    dtype = array.dtype.str.encode("ascii")
    head = _HEAD.pack(MARK, array.ndim, fortran, len(dtype))
    return head + dtype + struct.pack(f"<{array.ndim}Q", *array.shape), array


def unpack(body: bytes, buffer: Any = None) -> np.ndarray[Any, Any]:
    """Return the array, in the memory of `buffer`, or in a copy of the bytes after the header."""
    _, ndim, fortran, n = _HEAD.unpack_from(body)
    at = _HEAD.size + n
    dtype = np.dtype(body[_HEAD.size : at].decode("ascii"))
    shape = struct.unpack_from(f"<{ndim}Q", body, at)
    at += 8 * ndim
    data = bytearray(memoryview(body)[at:]) if buffer is None else buffer
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")
