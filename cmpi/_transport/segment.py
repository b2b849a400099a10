"""Segments of shared memory for large payloads from one process to another, divided into slots.

A segment has a page of words, one for each slot, followed by the slots. The writer sets a slot's word
before it fills the slot and announces it in a frame. The reader clears the word when nothing refers to the
slot's memory any more; the writer sees that when it next looks for room. Returning a slot needs no
message, and the reader may hold it as long as it likes: a writer that finds no room sends the payload in
another way.

A slot belongs to one process at a time, so the receiver may write to it. The idea comes from the loaned
samples of zero-copy middleware (Eclipse iceoryx).
"""

from __future__ import annotations

import os
import time
import weakref

import numpy as np

from cmpi._core.channel.allocator import Allocator
from cmpi._transport.mapped_file import LARGE_BYTES, collapse, map_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

HEADER_BYTES = 4096
COUNT = HEADER_BYTES // 8  # slots


class Block:
    """A slot that is being filled or is about to be sent. It is freed if it is never sent."""

    __slots__ = ("_loan", "_words", "index", "memory", "offset", "segment", "was_sent")

    def __init__(self, segment: SegmentWriter, index: int, offset: int, nbytes: int) -> None:
        self.segment, self.index, self.offset = segment.number, index, offset
        self.memory: NDArray[np.uint8] = segment.memory[offset : offset + nbytes]
        self._words = segment.words
        self._loan: weakref.ref[NDArray[Any]] | None = None
        self.was_sent = False

    def fill(self, data: Any) -> None:
        """Copy `data`, a buffer of the slot's size, into the slot. Blocks: for that, without the GIL."""
        np.copyto(self.memory, np.frombuffer(data, np.uint8))

    def lend(self, array: NDArray[Any], loans: dict[int, Block]) -> Block:
        """Note that the user has an array in this slot; `loans` keeps the slot as long as the array
        lives."""
        key = id(array)

        def finalized(_: object) -> None:
            loans.pop(key, None)

        self._loan = weakref.ref(array, finalized)
        return self

    def sent(self) -> tuple[int, int, int]:
        """Hand the slot over to the reader; returns segment, slot and offset."""
        self.was_sent = True
        lent = None if self._loan is None else self._loan()
        if lent is not None:
            lent.flags.writeable = False
        return self.segment, self.index, self.offset

    def __del__(self) -> None:
        if not self.was_sent:
            self._words[self.index] = 0


class SegmentWriter:
    """The writing side. For one thread at a time; only `await_last` blocks.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self, path: str, number: int, nbytes: int) -> None:
        self.number, self.nbytes = number, nbytes
        shared = map_file(path, HEADER_BYTES + nbytes)
        self.words = shared[:HEADER_BYTES].cast("Q")
        self.memory = np.frombuffer(shared, np.uint8, offset=HEADER_BYTES)
        self._slots = Allocator(nbytes, COUNT)
        self._last = 0  # the slot allocated last
        self._collapsed = (
            0 if nbytes >= LARGE_BYTES else nbytes
        )  # bytes for which huge pages were requested

    def allocate(self, nbytes: int) -> Block | None:
        """Allocate a slot of this size; None if there is no room."""
        for index in self._slots.used:
            if not self.words[index]:
                self._slots.free(index)
        got = self._slots.allocate(nbytes)
        if got is None:
            return None
        end = got[1] + nbytes
        if end > self._collapsed:
            collapse(self.memory.ctypes.data + self._collapsed, end - self._collapsed)
            self._collapsed = end
        self._last = got[0]
        self.words[got[0]] = 1
        return Block(self, *got, nbytes)

    def await_last(self, wait_s: float) -> bool:
        """Wait until the slot that was allocated last is returned; False if that takes too long."""
        words, last = self.words, self._last
        end_s = time.perf_counter() + wait_s
        while words[last]:
            if time.perf_counter() >= end_s:
                return False
        return True


class SegmentReader:
    """The reading side. Thread-safe; nothing blocks.

    Raises:
        OSError: The file is not there.
    """

    def __init__(self, path: str) -> None:
        self._map = map_file(path, None)
        self._words = self._map[:HEADER_BYTES].cast("Q")
        self._held: dict[int, Any] = {}
        self._owner = os.getpid()

    def take(self, index: int, offset: int, nbytes: int) -> NDArray[np.uint8]:
        """Return the memory of a slot, which is freed when nothing refers to it any more."""
        memory = np.frombuffer(self._map, np.uint8, nbytes, HEADER_BYTES + offset)

        def finalized(_: object) -> None:  # called by the garbage collector, in any thread, at any time
            self._held.pop(index, None)
            if os.getpid() == self._owner:  # a forked process's copy is not the reader
                self._words[index] = 0

        self._held[index] = weakref.ref(memory, finalized)
        return memory
