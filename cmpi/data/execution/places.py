"""Where a job's files are: each host on which tasks write has a folder, and a process that serves it to the
other hosts. A task finds both here."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from cmpi.channels.call import call
from cmpi.data.errors import Misplaced
from cmpi.errors import PeerClosed, PeerExited, PeerFailed
from cmpi.identifiers import Pid
from cmpi.processes.process import pid

FETCH_BYTES = 4 << 20  # in one answer of a keeper
GONE = PeerExited, PeerClosed, PeerFailed


@dataclass(frozen=True)
class Places:
    """Where tasks write and read.

    Attributes:
        folders: The folder for new files on each host, by `host_here`.
        keepers: The process that serves a folder to other hosts, by the folder.
    """

    folders: dict[str, str] = field(default_factory=dict)
    keepers: dict[str, Pid] = field(default_factory=dict)


_NOWHERE = Places()
_current: ContextVar[Places] = ContextVar("places", default=_NOWHERE)


@contextmanager
def at(places: Places) -> Iterator[None]:
    """Within the block, this thread writes and reads at these places."""
    token = _current.set(places)
    try:
        yield
    finally:
        _current.reset(token)


class NoFolder(Misplaced):
    """The job has no folder on the host of this worker."""

    def __init__(self, host: str, worker: Pid) -> None:
        self.host, self.worker = host, worker
        super().__init__(f"no folder on {host}")

    def __reduce__(self) -> Any:
        return NoFolder, (self.host, self.worker)


class Unreachable(Misplaced):
    """A file is not on this host, and cannot be got from its own.

    Attributes:
        path: The file.
        keeper: The process that served it, and has ended; None if none is known.
    """

    def __init__(self, path: str, keeper: Pid | None) -> None:
        self.path, self.keeper = path, keeper
        super().__init__(f"{path} cannot be reached")

    def __reduce__(self) -> Any:
        return Unreachable, (self.path, self.keeper)


@functools.cache
def host_here() -> str:
    """An identity of this host: its name, which two machines may share, and its boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{os.uname().nodename} {file.read().strip()}"


def folder_here() -> str:
    """The job's folder on this host. Raises: NoFolder."""
    folder = _current.get().folders.get(host_here(), "")
    if not os.path.isdir(folder):
        raise no_folder()
    return folder


def no_folder() -> NoFolder:
    """The error for a job without a folder on this host."""
    return NoFolder(host_here(), pid())


def fetched(folder: str, parts: list[tuple[str, int, int]]) -> list[Any]:
    """Return parts of files in a folder on another host: each is given by a path, an offset, and a number
    of bytes. Blocks: for the keeper of the folder.

    Raises:
        Unreachable: The folder has no keeper, or its keeper has ended.
        FileNotFoundError: The file was removed.
    """
    places, path = _current.get(), parts[0][0]
    if places.folders.get(host_here()) == folder:
        raise FileNotFoundError(f"{path} no longer exists: something else has removed it")
    keeper = places.keepers.get(folder)
    if keeper is None:
        raise Unreachable(path, None)
    names = [(os.path.basename(each), offset, nbytes) for each, offset, nbytes in parts]
    try:
        found: list[Any] = call(keeper, names, timeout=None)
    except GONE as error:
        raise Unreachable(path, keeper) from error
    return found


class RemoteFile:
    """A file of the job on another host. `read` raises what `fetched` does."""

    def __init__(self, path: str) -> None:
        self._path, self._at = path, 0

    def seek(self, offset: int) -> None:
        """Continue at this offset."""
        self._at = offset

    def read(self, nbytes: int) -> bytearray:
        """Return the next bytes, fewer only at the file's end. Blocks: for the keeper."""
        found = bytearray()
        while len(found) < nbytes:
            offset, left = self._at + len(found), nbytes - len(found)
            wanted = self._path, offset, min(FETCH_BYTES, left)
            (part,) = fetched(os.path.dirname(self._path), [wanted])
            if not len(part):
                break
            found += memoryview(part)
        self._at += len(found)
        return found
