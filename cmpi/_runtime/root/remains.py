"""Removes what killed processes leave in the job's folders, while the job goes on.

A process that ends in order removes its doorbell and its rings itself; all else goes with the job's
folders. A job that stays would gather them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SOCKETS = ("bell", "link")  # see `Doorbell`, and `ConnectionBroker`


def remove(folder: str, shared_memory: str, ended: Callable[[int], bool]) -> None:
    """Remove the sockets of processes that have ended, and what two that have ended shared.

    Args:
        folder: The job's.
        shared_memory: The job's, in memory.
        ended: Whether the process of this pid has ended.
    """
    for path, pids in [*_sockets(folder), *_shared(shared_memory)]:
        if pids and all(map(ended, pids)):
            try:
                os.unlink(path)
            except OSError:
                pass  # its owner has done it after all


def _sockets(folder: str) -> list[tuple[str, list[int]]]:
    """The sockets in a folder, and whose each is."""
    found = [(name, *name.rpartition(".")[::2]) for name in os.listdir(folder)]
    return [(f"{folder}/{name}", _pids(pid)) for name, pid, kind in found if kind in _SOCKETS]


def _shared(folder: str) -> list[tuple[str, list[int]]]:
    """The files by which two processes share memory, `writer-reader` and more; and which two."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [
        (f"{folder}/{name}", _pids(*name.partition(".")[0].split("-"))) for name in names if "-" in name
    ]


def _pids(*texts: str) -> list[int]:
    try:
        return [int(text, 16) for text in texts]
    except ValueError:
        return []  # another file
