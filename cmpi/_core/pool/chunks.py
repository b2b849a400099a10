"""Decides how many items of a `map` go into one task.

This is guided self-scheduling (Polychronopoulos and Kuck, "Guided Self-Scheduling: A Practical Scheduling
Scheme for Parallel Supercomputers", 1987), bounded by time: a task takes about `TARGET_S`, of which sending
the task and its answer is a few percent. If the number of items is known, each task gets at most its share
of half of the remaining items, so that no worker idles at the end. Large results are sent in small numbers,
so that the memory of one can be reused for the next. Sizes begin with 1 and are adjusted by measurement.
"""

from __future__ import annotations

TARGET_S = 0.02
LEAST_S = 0.0005  # even for the last tasks: idling for so long costs less than more messages
TARGET_BYTES = 1 << 20  # of the results of one task
MAX_ITEMS = 4096  # bounds memory, and how much one death costs
GROWTH = 8  # from one measurement to the next


class ChunkSizer:
    """The machine. Not thread-safe; never blocks.

    Args:
        workers: The number of workers.
        total: The number of items, None if it is not known.
        fixed: The size that the caller requested, if any.
    """

    def __init__(self, workers: int, total: int | None = None, fixed: int | None = None) -> None:
        self._workers, self._left, self._fixed = max(1, workers), total, fixed
        self._item_s: float | None = None
        self._item_bytes = 0.0
        self._limit = 1

    def measured(self, items: int, elapsed_s: float, nbytes: int = 0) -> None:
        """Note the number of items of a task, its duration, and the bytes of its results."""
        if items:
            self._item_bytes += 0.5 * (nbytes / items - self._item_bytes)
            item_s = elapsed_s / items
            self._item_s = item_s if self._item_s is None else self._item_s + 0.5 * (item_s - self._item_s)
            self._limit = max(self._limit, min(MAX_ITEMS, items * GROWTH))

    def next_size(self) -> int:
        """The size of the next task, at least 1."""
        if self._fixed is not None:
            return self._fixed
        if self._item_s is None:
            return 1
        size = min(self._limit, int(TARGET_S / max(self._item_s, 1e-9)))
        size = min(size, int(TARGET_BYTES / max(self._item_bytes, 1.0)))
        if self._left is not None:
            least = min(size, int(LEAST_S / max(self._item_s, 1e-9)))
            size = max(least, min(size, -(-self._left // (2 * self._workers))))
        return max(1, size)

    def taken(self, items: int) -> None:
        """Note that a task of this many items was taken."""
        if self._left is not None:
            self._left = max(0, self._left - items)
