"""Payloads from one process to another through shared memory: slots that one fills and the other holds.

A segment is a page of words, one for each slot, and the slots. The writer marks a slot's word before
it fills the slot and tells of it by a frame; the reader clears the word when nothing refers to the
slot's memory any more, and the writer finds that when it next looks for room. No message is needed
to give a slot back, and a slot may be held as long as the reader likes: a writer that finds no room
sends by MPI instead.

A slot belongs to one process at a time, so what is received may be written to.
Ours; the idea is that of the loaned samples of zero-copy middleware (Eclipse iceoryx).
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
    """A slot that is being filled, or was and is about to be sent. Given back if it never is."""

    __slots__ = ("_loan", "_words", "index", "memory", "offset", "segment", "was_sent")

    def __init__(self, segment: SegmentWriter, index: int, offset: int, nbytes: int) -> None:
        self.segment, self.index, self.offset = segment.number, index, offset
        self.memory: NDArray[np.uint8] = segment.memory[offset : offset + nbytes]
        self._words = segment.words
        self._loan: weakref.ref[NDArray[Any]] | None = None
        self.was_sent = False

    def fill(self, data: Any) -> None:
        """Copy `data`, any buffer of its size, into the slot. Blocks: for that, without the GIL."""
        np.copyto(self.memory, np.frombuffer(data, np.uint8))

    def lend(self, array: NDArray[Any], loans: dict[int, Block]) -> Block:
        """The array in it is a person's, for whom `loans` keeps the place as long as the array lives."""
        key = id(array)

        def finalized(_: object) -> None:
            loans.pop(key, None)

        self._loan = weakref.ref(array, finalized)
        return self

    def sent(self) -> tuple[int, int, int]:
        """Segment, slot and offset, for the reader, whose it is from now on."""
        self.was_sent = True
        lent = None if self._loan is None else self._loan()
        if lent is not None:
            lent.flags.writeable = False
        return self.segment, self.index, self.offset

    def __del__(self) -> None:
        if not self.was_sent:
            self._words[self.index] = 0


class SegmentWriter:
    """The filling side. One thread at a time; only `await_last` blocks.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self, path: str, number: int, nbytes: int) -> None:
        self.number, self.nbytes = number, nbytes
        shared = map_file(path, HEADER_BYTES + nbytes)
        self.words = shared[:HEADER_BYTES].cast("Q")
        self.memory = np.frombuffer(shared, np.uint8, offset=HEADER_BYTES)
        self._slots = Allocator(nbytes, COUNT)
        self._last = 0  # slot
        self._collapsed = 0 if nbytes >= LARGE_BYTES else nbytes  # so much lies in huge pages, if it can

    def allocate(self, nbytes: int) -> Block | None:
        """A slot of so many bytes; None if there is no room."""
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
        """Wait so long for the slot that was allocated last to be given back; whether it was.
        Blocks: for that."""
        words, last = self.words, self._last
        end_s = time.perf_counter() + wait_s
        while words[last]:
            if time.perf_counter() >= end_s:
                return False
        return True


class SegmentReader:
    """The holding side. Thread-safe; nothing blocks.

    Raises:
        OSError: The file is not there.
    """

    def __init__(self, path: str) -> None:
        self._map = map_file(path, None)
        self._words = self._map[:HEADER_BYTES].cast("Q")
        self._held: dict[int, Any] = {}
        self._owner = os.getpid()

    def take(self, index: int, offset: int, nbytes: int) -> NDArray[np.uint8]:
        """The memory of a slot. It is given back when nothing refers to it any more."""
        memory = np.frombuffer(self._map, np.uint8, nbytes, HEADER_BYTES + offset)

        def finalized(_: object) -> None:  # by the garbage collector, in any thread, at any time
            self._held.pop(index, None)
            if os.getpid() == self._owner:  # a forked process's copy is not the reader
                self._words[index] = 0

        self._held[index] = weakref.ref(memory, finalized)
        return memory
