"""Which cell of a notebook each process of its job belongs to. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

CellT = TypeVar("CellT")

MOST_ENDED = 1_000  # output may follow the end of a process: what it has started may write on


class Origins(Generic[CellT]):
    """The cells that have spawned processes; what these spawn belongs to the same cells.

    News of a process may come before the notebook has claimed the process, and even its children may.
    """

    def __init__(self) -> None:
        self._cells: dict[int, CellT] = {}
        self._parents: dict[int, int] = {}  # of processes that had no cell when they were spawned
        self._ended: deque[int] = deque()

    def claim(self, pids: list[int], cell: CellT) -> None:
        """These processes belong to this cell."""
        self._cells |= dict.fromkeys(pids, cell)

    def spawned(self, pid: int, parent: int) -> None:
        """There is a new process."""
        cell = self.of(parent)
        if cell is None:
            self._parents[pid] = parent
        else:
            self._cells.setdefault(pid, cell)

    def ended(self, pid: int) -> None:
        """A process has ended; it is remembered for a while."""
        self._ended.append(pid)
        if len(self._ended) > MOST_ENDED:
            oldest = self._ended.popleft()
            self._cells.pop(oldest, None)
            self._parents.pop(oldest, None)

    def of(self, pid: int) -> CellT | None:
        """The cell of a process; None: no cell has spawned it."""
        at: int | None = pid
        while at is not None:
            if at in self._cells:
                return self._cells[at]
            at = self._parents.get(at)
        return None
