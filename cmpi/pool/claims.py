"""Takes tasks back from a worker that has not begun them, through two words in shared memory.

Tasks that were sent to a worker may wait behind a long one while another worker is idle. The worker
numbers the tasks that it gets. Before each task it stores the task's number in `begun`, then reads
`recalled`; the pool stores a range of numbers in `recalled`, then reads `begun`. Both have a memory fence
in between (see `cmpi/_transport/ring.py`), so at least one of them sees the other's word. If the pool sees
that the worker has not begun a task in the range, the worker is certain to skip it. If both see the other's
word, the worker also skips the task, and says so.

Source: the THE protocol of Cilk-5 (Frigo, Leiserson and Randall, "The Implementation of the Cilk-5
Multithreaded Language", 1998), where a thief and the worker take from opposite ends.
"""

from __future__ import annotations

import threading

from cmpi._transport.mapped_file import map_file
from cmpi._transport.ring import usable

NBYTES = 4096
_BEGUN, _RECALLED = 0, 16  # words of 8 bytes, each in a cache line of its own
_COUNT_BITS = 16  # bits for the length of a range; the others hold the number of its first task
MOST_RECALLED = (1 << _COUNT_BITS) - 1  # tasks in a range
_fence = threading.Lock()


class Claims:
    """The worker's side.

    Args:
        path: The file with the words; "" for a worker from which no tasks are taken back.
    """

    def __init__(self, path: str) -> None:
        self.shared = False
        memory = memoryview(bytearray(NBYTES))
        if path and usable():
            try:
                memory = map_file(path, NBYTES)
                self.shared = True
            except OSError:
                pass  # there is no room for the file
        self._words = memory.cast("Q")
        self._begun = 0

    def begin(self) -> bool:
        """Begin the next task; False if it was taken back."""
        words = self._words
        self._begun = begun = self._begun + 1
        words[_BEGUN] = begun
        _fence.acquire()
        _fence.release()
        recalled = words[_RECALLED]
        if not recalled:
            return True
        first = recalled >> _COUNT_BITS
        return not first <= begun < first + (recalled & MOST_RECALLED)


class Recalls:
    """The pool's side.

    Args:
        path: The file that the worker created.

    Raises:
        OSError: The words cannot be mapped.
    """

    def __init__(self, path: str) -> None:
        self._words = map_file(path, None).cast("Q")

    def recall(self, first: int, count: int) -> int:
        """Take back `count` tasks (fewer than 65,536), beginning with the one of this number.

        Returns:
            The number of the last task that the worker has begun. It will skip the later tasks; for those
            up to this one, the worker reports whether it skipped them.
        """
        self._words[_RECALLED] = first << _COUNT_BITS | count
        _fence.acquire()
        _fence.release()
        begun: int = self._words[_BEGUN]
        return begun
