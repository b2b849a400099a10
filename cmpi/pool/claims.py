"""Taking tasks back from a worker that has not begun them: two words in memory that both sides see.

Tasks that a worker was sent may wait behind one that takes long, while another worker has nothing to do.
The worker counts the tasks that it gets. Before each it stores its number in `begun`, then reads
`recalled`; the pool stores a range of numbers in `recalled`, then reads `begun`. Both have a fence between
the two (see `cmpi/_transport/ring.py`), so at least one of them sees the other's word: a task in the range
that the worker has not begun, as the pool sees it, is one that the worker will leave out. If both see the
other's word, the worker leaves the task out too, and says so.

Source: the THE protocol of Cilk-5 (Frigo, Leiserson and Randall, "The Implementation of the Cilk-5
Multithreaded Language", 1998), where a thief takes from the other end than the worker.
"""

from __future__ import annotations

import threading

from cmpi._transport.mapped_file import map_file
from cmpi._transport.ring import usable

NBYTES = 4096
_BEGUN, _RECALLED = 0, 16  # words of 8 bytes, each in a cache line of its own
_COUNT_BITS = 16  # of the word of a range; the number of its first task has the others
_fence = threading.Lock()


class Claims:
    """The worker's side.

    Args:
        path: Where the pool will find the words; "" for a worker from which nothing is taken back.
    """

    def __init__(self, path: str) -> None:
        self.shared = False
        memory = memoryview(bytearray(NBYTES))
        if path and usable():
            try:
                memory = map_file(path, NBYTES)
                self.shared = True
            except OSError:
                pass  # no room for it
        self._words = memory.cast("Q")
        self._begun = 0

    def begin(self) -> bool:
        """The next task is to begin; False if it was taken back."""
        words = self._words
        self._begun = begun = self._begun + 1
        words[_BEGUN] = begun
        _fence.acquire()
        _fence.release()
        recalled = words[_RECALLED]
        if not recalled:
            return True
        first = recalled >> _COUNT_BITS
        return not first <= begun < first + (recalled & (1 << _COUNT_BITS) - 1)


class Recalls:
    """The pool's side.

    Args:
        path: Where the worker has made the words.

    Raises:
        OSError: They cannot be mapped.
    """

    def __init__(self, path: str) -> None:
        self._words = map_file(path, None).cast("Q")

    def recall(self, first: int, count: int) -> int:
        """Take back so many tasks of the worker, fewer than 65,536, from the one with this number on.

        Returns:
            The number of the last task that the worker has begun: it will leave out those behind it, and
            for those up to it, it will say.
        """
        self._words[_RECALLED] = first << _COUNT_BITS | count
        _fence.acquire()
        _fence.release()
        begun: int = self._words[_BEGUN]
        return begun
