"""Decides how many tasks a worker may hold, including the one that it runs.

A worker that already has its next task does not wait for the pool between tasks. But a task that waits
behind a long one could have run elsewhere. A worker may therefore hold as many tasks of a kind (a function)
as fit into `PREFETCH_S` if each takes as long as the longest recent one. If a kind takes long, the worker
may hold one task besides the running one, provided that it can be taken back; if a kind is not known yet,
only the running one.
"""

from __future__ import annotations

PREFETCH_S = 0.01
MAX_PREFETCH = 256  # a channel's window is 1024 messages
MAX_PREFETCH_BYTES = 8 << 20
LONG_S = 0.02  # tasks that take longer are long
FADING = 0.95  # each task multiplies the longest recent time of its kind by this
MAX_KINDS = 1024  # how many kinds are remembered


class Prefetch:
    """The recent times of each kind of task. Not thread-safe; never blocks."""

    def __init__(self) -> None:
        self._longest_s: dict[int, float] = {}

    def took(self, kind: int, elapsed_s: float) -> None:
        """Note how long a task of this kind took."""
        times = self._longest_s
        faded_s = FADING * times.get(kind, 0.0)
        times[kind] = elapsed_s if elapsed_s > faded_s else faded_s
        if len(times) > MAX_KINDS:
            del times[next(iter(times))]

    def depth(self, kind: int, recallable: bool) -> int:
        """How many tasks a worker may hold if the next is of this kind, at least 1.

        Args:
            kind: The kind of the next task.
            recallable: Whether tasks that the worker has not begun can be taken back.
        """
        longest_s = self._longest_s.get(kind)
        if longest_s is None:
            return 1
        if longest_s > LONG_S:
            return 2 if recallable else 1
        return min(MAX_PREFETCH, 2 + int(PREFETCH_S / max(longest_s, 1e-9)))
