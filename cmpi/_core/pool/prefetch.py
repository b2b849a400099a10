"""How many tasks a worker may hold, the one that it runs included.

A worker that has its next task already does not wait for the pool between two tasks. But a task that waits
behind a long one could have run elsewhere. So a worker may hold as many tasks of a kind (a function) as
take `PREFETCH_S` if each takes as long as the longest of late. Of a kind that takes long it may hold one
more than it runs, if that can be taken back; of one that is not known yet, only the one that it runs.
"""

from __future__ import annotations

PREFETCH_S = 0.01
MAX_PREFETCH = 256  # a channel's window is 1024 messages
MAX_PREFETCH_BYTES = 8 << 20
LONG_S = 0.02  # tasks that take longer are long
FADING = 0.95  # of what counts as the longest task of late, with each task of its kind
MAX_KINDS = 1024  # whose times are remembered


class Prefetch:
    """The times of late of each kind of task. Not thread-safe; never blocks."""

    def __init__(self) -> None:
        self._longest_s: dict[int, float] = {}

    def took(self, kind: int, elapsed_s: float) -> None:
        """A task of this kind has taken so long."""
        times = self._longest_s
        faded_s = FADING * times.get(kind, 0.0)
        times[kind] = elapsed_s if elapsed_s > faded_s else faded_s
        if len(times) > MAX_KINDS:
            del times[next(iter(times))]

    def depth(self, kind: int, recallable: bool) -> int:
        """How many tasks a worker may hold if the next is of this kind, at least 1.

        Args:
            kind: That kind.
            recallable: What the worker has not begun can be taken back.
        """
        longest_s = self._longest_s.get(kind)
        if longest_s is None:
            return 1
        if longest_s > LONG_S:
            return 2 if recallable else 1
        return min(MAX_PREFETCH, 2 + int(PREFETCH_S / max(longest_s, 1e-9)))
