"""`stable_hash` for whole columns of keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cmpi._core.data.stable_hash import EMPTY, NONE, stable_hash
from cmpi.data.extras import numpy, pyarrow
from cmpi.data.sources.columnar import values_of

PIECE = 1 << 15  # keys that are hashed at once


def can_be_hashed(kind: Any) -> bool:
    """Whether an Arrow type is one of those whose values Arrow and Python compare and hash alike."""
    types = pyarrow("types")
    known = (types.is_integer, types.is_string, types.is_large_string, types.is_boolean, types.is_date32)
    return any(is_of(kind) for is_of in known)


def partition_numbers(keys: Sequence[Any], partitions: int, level: int = 0) -> Any:
    """Which partition each key belongs to, as a numpy array: see `partition` and `hashes`."""
    numbers = hashes(keys)
    if level:
        numbers = _mixed(numbers.astype("int64") + level * NONE)
    if partitions & (partitions - 1) == 0:  # a power of two, whose remainders are bits
        return numbers & numpy().uint32(partitions - 1)
    return numbers % partitions


def hashes(keys: Sequence[Any]) -> Any:
    """The stable hash of each key, as a numpy array. Keys of several columns are hashed as tuples.

    Args:
        keys: Chunked Arrow columns of the same length, one or more.
    """
    if len(keys) == 1:
        return _of_column(keys[0])
    return hashes_of_tuples([_of_column(key) for key in keys])


def hashes_of_tuples(parts: Sequence[Any]) -> Any:
    """The stable hash of each tuple, from the hashes of its parts."""
    np = numpy()
    value = np.full(len(parts[0]), EMPTY, np.uint32)
    for part in parts:
        value = _mixed((value * np.uint32(31) + part).astype(np.int64))
    return value


def _of_column(keys: Any) -> Any:
    np = numpy()
    if not len(keys):
        return np.array([], np.uint32)
    if pyarrow("types").is_integer(keys.type):
        return np.concatenate([_of_integers(part) for part in _pieces(keys)])
    if pyarrow("types").is_dictionary(keys.type):
        keys = keys.cast(keys.type.value_type)
    distinct = pyarrow().concat_arrays(keys.chunks).dictionary_encode("encode")
    of_each = np.array(list(map(stable_hash, values_of(distinct.dictionary))), np.uint32)
    return of_each[distinct.indices.to_numpy()]


def _pieces(keys: Any) -> Iterator[Any]:
    """The arrays of a chunked column, in pieces that fit into a core's cache."""
    for chunk in keys.chunks:
        for at in range(0, len(chunk), PIECE):
            yield chunk.slice(at, PIECE)


def _of_integers(keys: Any) -> Any:
    np = numpy()
    if keys.null_count == 0:
        return hashes_of_integers(keys.to_numpy())
    found = hashes_of_integers(keys.fill_null(0).to_numpy())
    return np.where(keys.is_null().to_numpy(zero_copy_only=False), NONE, found).astype(np.uint32)


def hashes_of_integers(keys: Any) -> Any:
    """The stable hash of each integer of a numpy array, as an array of uint32.

    Source: as `stable_hash`, for a whole array at once.
    """
    np, modulus = numpy(), sys.hash_info.modulus
    if len(keys) and (keys.max() >= modulus or keys.min() <= -modulus):
        return np.array(list(map(stable_hash, keys.tolist())), np.uint32)
    wide = keys.astype(np.int64)
    wide -= wide == -1  # Python's hash of -1 is -2
    return _mixed(wide)


def _mixed(wide: Any) -> Any:
    """`mixed` for an array of int64, which it changes: in 32 bits, products wrap as they should."""
    np = numpy()
    wide ^= wide >> 32
    low = wide.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        low ^= low >> np.uint32(shift)
        low *= np.uint32(factor)
    low ^= low >> np.uint32(16)
    return low
