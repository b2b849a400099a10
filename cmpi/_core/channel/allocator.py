"""A first-fit allocator for payloads in shared memory. Pure.

It takes the lowest address that fits, because recently used memory is in the caches and page tables, and
untouched memory costs a page fault every 4 KiB.

Source: Knuth, "The Art of Computer Programming" 1, 2.5 "Dynamic Storage Allocation".
"""

from __future__ import annotations

ALIGNMENT = 64  # a cache line; enough for any dtype


class Allocator:
    """Slots in `nbytes` of memory, `count` of them at most. Not thread-safe; never blocks."""

    def __init__(self, nbytes: int, count: int) -> None:
        self._nbytes = nbytes
        self._unused = list(range(count - 1, -1, -1))  # indices
        self._used: list[tuple[int, int, int]] = []  # start, end, index; by start

    def __len__(self) -> int:
        return len(self._used)

    @property
    def used(self) -> list[int]:
        """The indices in use."""
        return [index for _, _, index in self._used]

    def allocate(self, nbytes: int) -> tuple[int, int] | None:
        """Allocate a slot; returns its index and offset, or None if there is no room."""
        if not self._unused:
            return None
        start = 0
        for i, (begin, end, _) in enumerate([*self._used, (self._nbytes, 0, 0)]):
            if begin - start >= nbytes:
                index = self._unused.pop()
                end = start + -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
                self._used.insert(i, (start, end, index))
                return index, start
            start = end
        return None

    def free(self, index: int) -> None:
        """Free a slot."""
        self._used = [slot for slot in self._used if slot[2] != index]
        self._unused.append(index)
