"""The state of MPI in a spawned process, which the process shares with its monitor."""

from __future__ import annotations

import mmap


class MpiState:
    """One byte of memory that a process shares with its monitor; see `process/lazy_mpi.py`."""

    UNTOUCHED, STARTING, STARTED = 0, 1, 2

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    @property
    def value(self) -> int:
        """The current state."""
        return self._memory[0]

    @value.setter
    def value(self, value: int) -> None:
        self._memory[0] = value
