"""Frames from one process to another through shared memory: a ring of bytes, one writer, one reader.

The writer owns the head, the reader the tail: how many bytes each has ever put in or taken out. A
record is its length, a tag and the frame; one that does not fit before the end of the ring begins
at its start. The reader also says whether it sleeps; the writer that has to wake it takes that word
back, so that a sleeper is rung for once.

The order of memory: the writer stores record, then head, then reads `asleep`; the reader stores
`asleep`, then reads the head. Both have a locked instruction between their two (`_fence`), so at
least one of them sees the other. A record before its head, and a tail behind what it frees, need
nothing more on machines that keep stores in order, as x86 does; elsewhere `usable` says no, and
frames go by MPI.

Ours: a queue of Lamport's kind ("Specifying Concurrent Program Modules", 1983), because between
separately spawned processes Open MPI takes the network's way, five times slower, and because only
the reader's word says whether the doorbell must be rung, which costs as much as a message.
"""

from __future__ import annotations

import mmap
import os
import platform
import struct
import threading

HEADER_BYTES = 4096
RING_BYTES = 1 << 18
RECORD_BYTES = RING_BYTES // 2 - 64  # the longest frame
_MASK = RING_BYTES - 1
_HEAD, _TAIL, _ASLEEP = 0, 8, 16  # in words of 8 bytes, each in a cache line of its own
_RECORD = struct.Struct("<II")  # length, tag
_WRAP = 0xFFFFFFFF  # in place of a length: go on at the start

_pack, _unpack = _RECORD.pack_into, _RECORD.unpack_from

# Taking a lock is a locked instruction: what was stored before is seen before what is loaded after.
_fence = threading.Lock()
_fence_in, _fence_out = _fence.acquire, _fence.release


def usable() -> bool:
    """Whether this machine keeps stores in order (see above)."""
    return platform.machine() in ("x86_64", "AMD64")


def map_file(path: str, nbytes: int, *, create: bool) -> mmap.mmap:
    """Memory that two processes share, by a file that one creates; the other unlinks it, once it has it.

    Raises:
        OSError: No room for it; or it is not there, because the two do not share the file system.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else os.O_NOFOLLOW)
    fd = os.open(path, flags, 0o600)
    try:
        if create:
            # Reserved rather than promised: a full file system is an error here, not a SIGBUS later.
            os.posix_fallocate(fd, 0, nbytes)
        return mmap.mmap(fd, nbytes)
    except (OSError, ValueError) as error:
        if create:
            os.unlink(path)
        raise OSError(f"cannot share memory at {path}: {error}") from None
    finally:
        os.close(fd)
        if not create:
            os.unlink(path)


def free_bytes(folder: str) -> int:
    """What is free in the file system of this folder. Raises: OSError."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


class RingWriter:
    """The writing side. One thread at a time; nothing blocks.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self, path: str) -> None:
        self._map = map_file(path, HEADER_BYTES + RING_BYTES, create=True)
        self._words = memoryview(self._map)[:HEADER_BYTES].cast("Q")
        self._head = 0
        self._room = RING_BYTES  # at least so much is free
        self._words[_ASLEEP] = 1

    def put(self, tag: int, frame: bytes) -> bool:
        """Add a frame of at most `RECORD_BYTES`; False if there is no room now."""
        n = len(frame)
        need = (n + 15) & ~7
        at = self._head & _MASK
        if need > self._room or at + need > RING_BYTES:
            if not self._make_room(need):
                return False
            at = self._head & _MASK
        start = at + HEADER_BYTES
        shared = self._map
        _pack(shared, start, n, tag)
        shared[start + 8 : start + 8 + n] = frame
        self._room -= need
        self._head = head = self._head + need
        self._words[_HEAD] = head
        return True

    def _make_room(self, need: int) -> bool:
        left = RING_BYTES - (self._head & _MASK)
        skip = left if left < need else 0
        self._room = RING_BYTES - (self._head - self._words[_TAIL])
        if self._room < need + skip:
            return False
        if skip:
            _pack(self._map, HEADER_BYTES + RING_BYTES - left, _WRAP, 0)
            self._head += skip
            self._room -= skip
        return True

    def must_wake(self) -> bool:
        """Whether the reader sleeps, and is to be rung for; True once each time it falls asleep."""
        _fence_in()
        _fence_out()
        if self._words[_ASLEEP]:
            self._words[_ASLEEP] = 0
            return True
        return False


class RingReader:
    """The reading side. One thread at a time; nothing blocks.

    Raises:
        OSError: The file is not there: the writer is on a host, or in a container, that does not
            share it.
    """

    def __init__(self, path: str) -> None:
        self._map = map_file(path, HEADER_BYTES + RING_BYTES, create=False)
        self._words = memoryview(self._map)[:HEADER_BYTES].cast("Q")
        self._tail = 0

    def take(self) -> list[tuple[int, bytes]]:
        """The frames that are there, each with its tag."""
        shared, tail, head = self._map, self._tail, self._words[_HEAD]
        records = []
        while tail != head:
            start = (tail & _MASK) + HEADER_BYTES
            n, tag = _unpack(shared, start)
            if n == _WRAP:
                tail += RING_BYTES - (tail & _MASK)
                continue
            records.append((tag, shared[start + 8 : start + 8 + n]))
            tail += (n + 15) & ~7
        self._tail = tail
        self._words[_TAIL] = tail
        return records

    def wait(self, looks: int) -> None:
        """Look so many times whether there is a frame; the writer need not ring from now on.

        Blocks: for that long, some 30 ns each.
        """
        words, tail = self._words, self._tail
        words[_ASLEEP] = 0
        for _ in range(looks):
            if words[_HEAD] != tail:
                return

    def sleep(self) -> bool:
        """Have the writer ring for the next frame. False if there is one already: take it first."""
        words = self._words
        words[_ASLEEP] = 1
        _fence_in()
        _fence_out()
        return words[_HEAD] == self._tail

    @property
    def position(self) -> int:
        """Bytes that were ever taken out."""
        return self._tail
