"""The files of `--output-dir`: one for each process and descriptor that wrote something."""

from __future__ import annotations

import os

_ENDINGS = {1: "stdout", 2: "stderr"}


class OutputFiles:
    """Appends to the files. No descriptor is kept open for processes that have ended.

    Args:
        folder: The folder of the files.

    One thread calls `born`, another one all other methods.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names: dict[int, str] = {}
        self._open: dict[tuple[int, int], int] = {}
        self._begun: set[tuple[int, int]] = set()  # files whose contents from an earlier job were removed
        self._dead: set[int] = set()

    def born(self, pid: int, name: str) -> None:
        """A process was started; its files begin with `name`."""
        self._names[pid] = name

    def keep(self, pid: int, fd: int, data: bytes) -> None:
        """Append what a process wrote. Raises: OSError."""
        key = pid, fd
        if key not in self._open:
            mode = os.O_APPEND if key in self._begun else os.O_TRUNC
            path = f"{self.folder}/{self._names[pid]}.{_ENDINGS[fd]}"
            self._open[key] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | mode, 0o666)
            self._begun.add(key)
        view = memoryview(data)
        while view:
            view = view[os.write(self._open[key], view) :]
        if pid in self._dead:  # its surviving children wrote this
            os.close(self._open.pop(key))

    def forget(self, pid: int) -> None:
        """Forget the name of a process that has ended and will write nothing more."""
        self._names.pop(pid, None)
        self._dead.discard(pid)
        self._begun -= {(pid, fd) for fd in _ENDINGS}

    def died(self, pid: int) -> None:
        """A process has ended. Raises: OSError, for example because the disk is full."""
        self._dead.add(pid)
        for fd in _ENDINGS:
            if (pid, fd) in self._open:
                os.close(self._open.pop((pid, fd)))
