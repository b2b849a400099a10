"""What a job has on the disks of its hosts: folders, and how to make the files of a lost host again."""

from __future__ import annotations

import itertools
import os
import uuid
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from cmpi.channels.call import call
from cmpi.channels.receiver import Receiver
from cmpi.data.errors import Misplaced
from cmpi.data.execution.block_walk import blocks_in, with_blocks
from cmpi.data.execution.keeper import keep
from cmpi.data.execution.places import (
    FETCH_BYTES,
    GONE,
    NoFolder,
    Places,
    RemoteFile,
    Unreachable,
    at,
    host_here,
)
from cmpi.data.execution.spill import RowBlock, read, stored
from cmpi.data.execution.spill_folder import SpillFolder
from cmpi.errors import CmpiError, EndOfChannel
from cmpi.identifiers import Pid, Resources
from cmpi.processes import process

ATTEMPTS = 10  # to read a file or run a task for which the job must first provide something
CLOSE_S = 30.0  # the longest wait for a keeper that removes its files
_channels = itertools.count()

Rerun = Callable[["Store", Any, list[Any]], Iterable[Any]]  # runs a task again for several arguments


class Keeper(NamedTuple):
    """A process, and the folder that it serves."""

    pid: Pid
    folder: str


@dataclass(frozen=True)
class Made:
    """How files of one task were made.

    Attributes:
        task: The task, which is the same object for all splits of a stage.
        argument: Its argument, on disk.
        result: Its result, with the blocks in these files.
    """

    task: Any
    argument: RowBlock
    result: Any


class Store:
    """The folders of a job: one on this host, and one on every other host on which tasks write.

    The folder here exists from `open` on, the others from when a worker on their host first needs one. Each
    is served to other hosts by a keeper. Results of tasks that are on another host are recorded: if it is
    lost, the tasks run again.

    Args:
        parent: Where to create the folders.
    """

    every: weakref.WeakSet[Store] = weakref.WeakSet()  # those of this process that are open

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._own = SpillFolder(parent)
        self._keepers: dict[str, Keeper] = {}  # by host
        self._lost: set[str] = set()  # folders
        self._made: dict[str, Made] = {}  # by path
        self._moved: dict[tuple[str, int], RowBlock] = {}  # from the path and offset of the former block

    @property
    def folder(self) -> str:
        """The folder on this host."""
        return self._own.path

    @property
    def is_open(self) -> bool:
        """Whether it has a folder."""
        return self in Store.every

    def open(self) -> None:
        """Create the folder on this host. Raises: OSError."""
        if not self.is_open:
            self._own.path  # noqa: B018
            Store.every.add(self)

    def places(self) -> Places:
        """Where tasks write and read."""
        if not self.is_open:
            return Places({}, _keepers())
        folders = {host: keeper.folder for host, keeper in self._keepers.items()}
        return Places({host_here(): self.folder, **folders}, _keepers())

    def close(self) -> None:
        """Remove the files on all hosts. Blocks: until they are removed there."""
        Store.every.discard(self)
        self._own.close()
        for keeper in self._keepers.values():
            with suppress(*GONE, TimeoutError):
                call(keeper.pid, None, timeout=CLOSE_S)
        self._keepers.clear()

    # -- what tasks need -----------------------------------------------------------------------

    def mend(self, error: Misplaced, rerun: Rerun) -> None:
        """Provide what a task has not found, so that it can run again. Raises: the error, if that cannot
        be."""
        if isinstance(error, NoFolder):
            self._serve(error.host, error.worker)
            return
        assert isinstance(error, Unreachable)
        folder = os.path.dirname(error.path)
        for store in list(Store.every):
            if store._knows(folder):
                store._reach(error, folder, rerun)
                return
        raise FileNotFoundError(f"{error.path} no longer exists") from error

    def _serve(self, host: str, worker: Pid) -> None:
        """Have a folder on a worker's host, and keepers there and here."""
        self.open()
        for name, near in ((host, worker), (host_here(), process.pid())):
            if name not in self._keepers:
                self._keepers[name] = self._started(name, near)

    def _started(self, host: str, near: Pid) -> Keeper:
        channel = f"cmpi-data-keeper-{next(_channels)}"
        folder = self.folder if host == host_here() else ""
        pid = process.spawn(
            keep, channel, self._parent, folder, resources=Resources(near=near), name="files of streams"
        )
        try:
            with Receiver[Any](pid, name=channel) as answers:
                found, folder = answers.recv()
        except (*GONE, EndOfChannel) as error:
            raise CmpiError(
                f"a stream needs a folder in {self._parent} on {host.split()[0]}; the process that makes "
                f"it has failed ({error}). Name a folder that each host has: options(spill_folder=...)"
            ) from error
        if found != host:
            call(pid, None, timeout=CLOSE_S)
            raise CmpiError(
                f"a process that serves the files of a stream must run on {host.split()[0]}; found room "
                f"only on {found.split()[0]}. Leave 16 MiB of memory free on each host."
            )
        return Keeper(pid, folder)

    def _knows(self, folder: str) -> bool:
        mine = (keeper.folder for keeper in self._keepers.values())
        return folder == self.folder or folder in self._lost or folder in mine

    def _reach(self, error: Unreachable, folder: str, rerun: Rerun) -> None:
        """Serve a file, or make it again if its host or keeper has ended."""
        for host, keeper in list(self._keepers.items()):
            if keeper.folder == folder and keeper.pid == error.keeper:
                del self._keepers[host]
                if folder != self.folder:
                    self._lost.add(folder)
        if folder == self.folder:
            self._serve(host_here(), process.pid())
        elif folder in self._lost:
            self._make_again(error.path, rerun)

    def local(self, file: RowBlock, rerun: Rerun) -> str:
        """The path on this host of a block that is a file of its own. Blocks: until it is here."""
        for _ in range(ATTEMPTS):
            file = self.current(file)
            if os.path.exists(file.path):
                return file.path
            try:
                with at(self.places()):
                    return self._copied(RemoteFile(file.path))
            except Misplaced as error:
                self.mend(error, rerun)
        raise Unreachable(file.path, None)

    def _copied(self, file: RemoteFile) -> str:
        path = os.path.join(self.folder, uuid.uuid4().hex)
        with open(path, "xb") as copy:
            while part := file.read(FETCH_BYTES):
                copy.write(part)
        return path

    # -- what was lost -------------------------------------------------------------------------

    def record(self, task: Any, argument: Any, result: Any) -> None:
        """Note how the files of a result were made, if they are on another host."""
        folders = {keeper.folder for keeper in self._keepers.values()} - {self.folder}
        paths = {block.path for block in blocks_in(result) if os.path.dirname(block.path) in folders}
        if paths:
            made = Made(task, stored([argument], self.folder), result)
            self._made.update(dict.fromkeys(paths, made))

    def _make_again(self, path: str, rerun: Rerun) -> None:
        """Run the tasks again whose files were lost with this one, those of the same stage."""
        if path not in self._made:
            return  # that was done before
        task = self._made[path].task
        lost = [
            each
            for each, made in self._made.items()
            if made.task is task and os.path.dirname(each) in self._lost
        ]
        every = list({id(made): made for made in map(self._made.pop, lost)}.values())
        arguments = [next(read([made.argument]))[0] for made in every]
        for made, result in zip(every, rerun(self, task, arguments)):
            before, after = list(blocks_in(made.result)), list(blocks_in(result))
            if [block.rows for block in before] != [block.rows for block in after]:
                raise CmpiError(
                    "a host was lost, and a split whose rows were there gave other rows when it was read "
                    "again. Its source has changed, or a function does not always return the same."
                )
            self._moved.update({(old.path, old.offset): new for old, new in zip(before, after) if old.path})

    def current(self, argument: Any) -> Any:
        """The argument with the blocks that have taken the places of lost ones."""
        moved = {key: block for store in list(Store.every) for key, block in store._moved.items()}
        if not moved:
            return argument

        def newest(block: RowBlock) -> RowBlock:
            while block.path and (block.path, block.offset) in moved:
                block = moved[block.path, block.offset]
            return block

        return with_blocks(argument, newest)


def _keepers() -> dict[str, Pid]:
    """The keepers of all stores of this process, by folder."""
    return {keeper.folder: keeper.pid for store in list(Store.every) for keeper in store._keepers.values()}
