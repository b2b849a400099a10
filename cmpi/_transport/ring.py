"""A ring of bytes in shared memory, which carries frames from one writer to one reader.

A record is a word with its length and tag, followed by the frame. A record that does not fit before the end
of the ring begins at its start. The writer stores the word last. The reader polls the word: zero means that
no record is there yet. The reader therefore zeroes what it has read before it returns the space, by storing
the number of bytes that it has ever consumed (the tail); it returns a sixteenth of the ring at a time. A
flag of the reader says whether it sleeps. The writer clears the flag when it rings, so one ring is enough.

Most pairs of processes exchange few frames, so a ring is small at first. When it is full, or a record is
too long for it, the writer creates a larger ring in the next file, and puts a mark as the last record into
the old one; the reader then goes on in the new ring.

Memory order: the writer stores the frame, then its word, then reads `asleep`; the reader stores `asleep`,
then reads the word. Both have a locked instruction in between (`_fence`, or releasing a lock), so at least
one of them sees the other's store. That a frame comes before its word, and the zeros before the tail, needs
nothing more on machines that keep stores in order, such as x86; elsewhere `usable` is false, and frames go
through MPI. A process that is killed in the middle of this does no harm: a frame without its word was never
sent.

Why our own: it is a queue like Lamport's ("Specifying Concurrent Program Modules", 1983), but without a
shared head, which saves the transfer of one cache line (Giacomoni, Moseley, Vachharajani: "FastForward for
Efficient Pipeline Parallelism", 2008). Between separately spawned processes, Open MPI uses TCP, which is
five times slower. MPICH's shared memory has one queue for all senders, and a killed sender can block it
for all. And only the reader's flag tells whether the doorbell must be rung, which costs as much as a
message.
"""

from __future__ import annotations

import os
import platform
import threading
import time

from cmpi._transport.mapped_file import map_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

HEADER_BYTES: Final = 4096
SMALL_BYTES: Final = 1 << 14  # the first size of a ring
LARGE_BYTES: Final = 1 << 18  # the size after the first ring was full
HUGE_BYTES: Final = 1 << 22  # the size for messages in pieces that are far larger than that
# Offsets in words of 8 bytes. Each word has a pair of cache lines, because processors fetch lines in pairs.
_TAIL: Final = 0
_ASLEEP: Final = 16
LOOKS: Final = 100  # between two looks at the clock
_WORD_BYTES: Final = 8  # kept free for the last word
_WRAP: Final = 0x3FFFFFFF  # in place of a length: go on at the start
_GROWN: Final = 0x3FFFFFFE  # in place of a length: go on in the next file
_TAG: Final = 0xFFFFFFFF
PIECE: Final = 0xFFFFFFFE  # the tag of records that `take` returns as views
_ZEROS: Final = bytes(1 << 16)

# Taking a lock is a locked instruction: earlier stores become visible before later loads.
_fence: Final = threading.Lock()


def usable() -> bool:
    """Whether this machine keeps stores in order (see above)."""
    return platform.machine() in ("x86_64", "AMD64")


def free_bytes(folder: str) -> int:
    """The free space in the file system of this folder, in bytes. Raises: OSError."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def unlink_rings(path: str) -> None:
    """Remove a ring's files that its reader never mapped, after its writer has ended."""
    number = 0
    while True:
        try:
            os.unlink(_file(path, number))
        except FileNotFoundError:
            if number:
                return
        number += 1


def _file(path: str, number: int) -> str:
    return f"{path}.{number}" if number else path


class RingWriter:
    """The writing side. For one thread at a time; nothing blocks.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self, path: str) -> None:
        self._path, self._number = path, 0
        self._put = 0  # bytes put into earlier files
        self._make(SMALL_BYTES)

    def _make(self, nbytes: int) -> None:
        shared = map_file(_file(self._path, self._number), HEADER_BYTES + nbytes)
        self._map, self._nbytes, self._mask = shared, nbytes, nbytes - 1
        self._words = shared.cast("Q")
        self._words[_ASLEEP] = 1
        self._head = 0  # bytes ever put in
        self._room = nbytes - _WORD_BYTES  # at least this much is free
        # A record of this size always fits eventually, after the unused end and the space not yet returned.
        self.longest = nbytes * 3 // 8 - 64

    def put(self, tag: int, frame: bytes | memoryview) -> bool:
        """Add a frame of at most `longest` bytes; False if there is no room now."""
        n = len(frame)
        need = (n + 15) & ~7
        at = self._head & self._mask
        if need > self._room or at + need > self._nbytes:
            if not self._make_room(need):
                return False
            at = self._head & self._mask
        start = at + HEADER_BYTES
        shared = self._map
        shared[start + 8 : start + 8 + n] = frame
        self._words[start >> 3] = n + _WORD_BYTES << 32 | tag
        self._room -= need
        self._head += need
        return True

    def _make_room(self, need: int) -> bool:
        left = self._nbytes - (self._head & self._mask)
        skip = left if left < need else 0
        self._room = self._nbytes - _WORD_BYTES - (self._head - self._words[_TAIL])
        if self._room < need + skip:
            return self.grow(LARGE_BYTES) and self._make_room(need)
        if skip:
            self._words[(HEADER_BYTES + self._nbytes - left) >> 3] = _WRAP << 32
            self._head += skip
            self._room -= skip
        return True

    def grow(self, nbytes: int) -> bool:
        """Go on in a ring of this size; False if this one is as large, or if there is no room."""
        words, head, at = self._words, self._head, self._head & self._mask
        if self._nbytes >= nbytes:
            return False
        self._number += 1
        try:
            self._make(nbytes)
        except OSError:
            self._number -= 1
            return False
        words[(HEADER_BYTES + at) >> 3] = _GROWN << 32
        self._put += head
        return True

    @property
    def position(self) -> int:
        """The number of bytes ever put in."""
        return self._put + self._head

    @property
    def reader_sleeps(self) -> bool:
        """Whether the reader sleeps. This is only reliable after a fence (see above)."""
        return bool(self._words[_ASLEEP])

    def must_wake(self) -> bool:
        """Whether the reader sleeps and must be woken; True only once each time it falls asleep."""
        _fence.acquire()
        _fence.release()
        if self._words[_ASLEEP]:
            self._words[_ASLEEP] = 0
            return True
        return False


class RingReader:
    """The reading side. For one thread at a time; nothing blocks.

    Raises:
        OSError: The file is not there yet (FileNotFoundError), or cannot be mapped.
    """

    def __init__(self, path: str) -> None:
        self._path, self._number = path, 0
        self.stalled = False  # the next file cannot be mapped; `take` tries again
        self.tag = 0
        self._taken = 0  # bytes from earlier files
        self._open()

    def _open(self) -> None:
        shared = map_file(_file(self._path, self._number), None)
        self._map, self._nbytes = shared, len(shared) - HEADER_BYTES
        self._bytes: Any = shared.obj
        self._words, self._mask, self._portion = shared.cast("Q"), self._nbytes - 1, self._nbytes // 16
        self._tail = self._given = 0  # bytes ever taken out, and bytes returned
        self._asleep = True  # the flag as the writer sees it, unless it has cleared it

    def take(self) -> Any:
        """Return the next frame, and set `tag` to its tag; None if there is none.

        A frame is bytes, except that a `PIECE` is a view of the ring, which the next call invalidates.
        """
        if self._tail - self._given >= self._portion:
            self._give_back()
        while True:
            tail = self._tail
            start = (tail & self._mask) + HEADER_BYTES
            word = self._words[start >> 3]
            if word == 0:
                return None
            n = word >> 32
            if n < _GROWN:
                break
            if n == _WRAP:
                self._tail += self._nbytes - (tail & self._mask)
            elif not self._go_on():
                return None
        self.tag = tag = word & _TAG
        self._tail = tail + ((n + 7) & ~7)
        return (self._map if tag == PIECE else self._bytes)[start + _WORD_BYTES : start + n]

    def _next_word(self) -> int:
        """The index of the next record's word."""
        return ((self._tail & self._mask) + HEADER_BYTES) >> 3

    def _give_back(self) -> None:
        """Return the space of the frames that were read to the writer."""
        given, tail = self._given, self._tail
        while given < tail:
            at = given & self._mask
            n = min(tail - given, self._nbytes - at, len(_ZEROS))
            self._map[HEADER_BYTES + at : HEADER_BYTES + at + n] = _ZEROS[:n]
            given += n
        self._given = given
        self._words[_TAIL] = given

    def _go_on(self) -> bool:
        taken = self._tail
        self._number += 1
        try:
            self._open()
        except OSError:
            self._number -= 1
            self.stalled = True
            return False
        self._taken += taken
        self.stalled = False
        return True

    def wait(self, wait_s: float) -> None:
        """Poll for a frame for so long; the writer need not ring from now on.

        Blocks: for that time, holding the GIL if this is compiled.
        """
        words = self._words
        at = self._next_word()
        if self._asleep:  # writing it again would take its cache line from the writer
            words[_ASLEEP] = 0
            self._asleep = False
        if wait_s <= 0:
            return
        end_s = 0.0
        while True:
            for _ in range(LOOKS):
                if words[at] != 0:
                    return
            now_s = time.perf_counter()
            if end_s == 0.0:
                end_s = now_s + wait_s
            elif now_s >= end_s:
                return

    def sleep(self) -> bool:
        """Make the writer ring for the next frame. False if a frame is already there: take it first."""
        words = self._words
        words[_ASLEEP] = 1
        self._asleep = True
        _fence.acquire()
        _fence.release()
        return words[self._next_word()] == 0

    @property
    def position(self) -> int:
        """The number of bytes ever taken out."""
        return self._taken + self._tail
