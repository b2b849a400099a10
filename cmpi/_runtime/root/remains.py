"""Removes what killed processes leave in the job's folders, while the job goes on.

A process that ends in order removes its doorbell and its rings itself, and the job's end removes its
folders. In a job that stays, the leftovers would accumulate.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SOCKETS = ("bell", "link")  # see `Doorbell`, and `ConnectionBroker`


def remove(folder: str, shared_memory: str, ended: Callable[[int], bool]) -> None:
    """Remove the sockets of processes that have ended, and the shared memory between two that have ended.

    Args:
        folder: The job's folder.
        shared_memory: The job's folder in shared memory.
        ended: Whether the process with this pid has ended.
    """
    for path, pids in [*_sockets(folder), *_shared(shared_memory)]:
        if pids and all(map(ended, pids)):
            try:
                os.unlink(path)
            except OSError:
                pass  # its owner has removed it after all


def _sockets(folder: str) -> list[tuple[str, list[int]]]:
    """The sockets in a folder, and the process that each belongs to."""
    found = [(name, *name.rpartition(".")[::2]) for name in os.listdir(folder)]
    return [(f"{folder}/{name}", _pids(pid)) for name, pid, kind in found if kind in _SOCKETS]


def _shared(folder: str) -> list[tuple[str, list[int]]]:
    """The files by which two processes share memory, named `writer-reader` and longer; and the two
    processes."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [
        (f"{folder}/{name}", _pids(*name.partition(".")[0].split("-"))) for name in names if "-" in name
    ]


def _pids(*texts: str) -> list[int]:
    try:
        return [int(text, 16) for text in texts]
    except ValueError:
        return []  # another file
