"""Blocks of rows on disk, in a folder that is removed with its job."""

from __future__ import annotations

import fcntl
import glob
import os
import pickle
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cmpi._runtime.linux.own_file import open_own
from cmpi._transport import pickling
from cmpi.data.chunks import is_table
from cmpi.data.extras import pyarrow

PREFIX = "cmpi-data-"
# If a task's blocks have no more than this in total, they are returned instead of written.
INLINE_BYTES = 64 * 1024
BLOCK_ROWS = 4096
IPC_STREAM = b"\xff\xff\xff\xff"  # its first bytes; a pickle begins with others
PARTS = b"parts"  # marks a pickle that contains others; a plain pickle ends with "."


@dataclass(frozen=True)
class Block:
    """Rows on disk, or in memory if `data` is given."""

    nbytes: int
    rows: int
    path: str = ""
    offset: int = 0
    data: bytes | None = None


class SpillFolder:
    """A job's own folder. It is created when it is first needed, and removed by `close`.

    Args:
        parent: Where to create it. With workers on several hosts, all of them must see it.

    The folder is locked as long as this process lives. A folder left by a process that was killed is
    unlocked, and the next job with the same parent removes it.
    """

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._path = ""
        self._lock = -1

    @property
    def path(self) -> str:
        """The path of the folder. Raises: OSError: It cannot be created."""
        if not self._path:
            remove_stale(self._parent)
            while not self._make():
                pass
        return self._path

    def _make(self) -> bool:
        """Create the folder; False if another process took it for stale and removed it before it was
        locked."""
        path = tempfile.mkdtemp(prefix=PREFIX, dir=self._parent)
        lock = os.path.join(path, "lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not os.path.exists(lock):
            os.close(self._lock)
            return False
        self._path = path
        return True

    def close(self) -> None:
        """Remove the folder and its contents."""
        if self._path:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = ""


def remove_stale(parent: str) -> None:
    """Remove this user's folders in `parent` whose processes have ended."""
    for folder in glob.glob(os.path.join(glob.escape(parent), f"{PREFIX}*")):
        try:
            if os.lstat(folder).st_uid != os.getuid():
                continue
            lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


class BlockWriter:
    """Writes blocks to its own file; small blocks stay in memory until there are many."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, uuid.uuid4().hex)
        self._file: Any = None
        self._small: list[bytes] = []  # the blocks so far, while they are small
        self._small_bytes = 0
        self._blocks: list[Block] = []

    def write(self, rows: Sequence[Any]) -> int:
        """Write a block; returns its index in the result of `close`."""
        body = packed(rows)
        if self._file is None:
            self._small.append(body)
            self._small_bytes += len(body)
            self._blocks.append(Block(len(body), len(rows), data=body))
            if self._small_bytes > INLINE_BYTES:
                self._to_disk()
        else:
            self._blocks.append(Block(len(body), len(rows), self._path, self._file.tell()))
            self._file.write(body)
        return len(self._blocks) - 1

    def _to_disk(self) -> None:
        self._file = open(self._path, "xb", buffering=1 << 18)  # noqa: SIM115
        for i, body in enumerate(self._small):
            self._blocks[i] = Block(len(body), self._blocks[i].rows, self._path, self._file.tell())
            self._file.write(body)
        self._small.clear()

    def close(self) -> list[Block]:
        """Return the blocks that were written, in order."""
        if self._file is not None:
            self._file.close()
        return self._blocks


def packed(value: Any) -> bytes:
    """Return a pickle in one piece, or a table as an Arrow IPC stream. Raises: NotPicklable."""
    if is_table(value):
        return table_bytes(value)
    message = pickling.dumps(value, "a row")
    if isinstance(message, bytes):
        return message
    if not message.body and len(message.buffers) == 1:
        return bytes(message.buffers[0])
    return pickle.dumps((message.body, [bytes(each) for each in message.buffers]), 5) + PARTS


def table_bytes(table: Any) -> bytes:
    """Return a table as an Arrow IPC stream."""
    to = pyarrow().BufferOutputStream()
    with pyarrow("ipc").new_stream(to, table.schema) as writer:
        writer.write_table(table)
    return bytes(to.getvalue())


def unpacked(data: bytes) -> Any:
    """Return the value that was passed to `packed`."""
    if data.startswith(IPC_STREAM):
        return pyarrow("ipc").open_stream(data).read_all()
    if not data.endswith(PARTS):
        return pickling.loads(data)
    body, buffers = pickle.loads(data)
    return pickling.loads(body, [bytearray(each) for each in buffers])


def read(blocks: Iterable[Block]) -> Iterator[Any]:
    """Yield the rows of each block: a list, or a table."""
    path, file = "", None
    try:
        for block in blocks:
            if block.data is not None:
                yield unpacked(block.data)
                continue
            if block.path != path or file is None:
                if file is not None:
                    file.close()
                path, file = block.path, _opened(block.path)
            file.seek(block.offset)
            yield unpacked(file.read(block.nbytes))
    finally:
        if file is not None:
            file.close()


def _opened(path: str) -> Any:
    try:
        return open_own(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is not there. Tasks on several hosts exchange rows by files: name a folder that all "
            "of them see with options(spill_folder=...)"
        ) from error


def write_rows(rows: Iterable[Any], folder: str) -> list[Block]:
    """Write rows as blocks, in order."""
    writer = BlockWriter(folder)
    iterator = iter(rows)
    while chunk := list(islice(iterator, BLOCK_ROWS)):
        writer.write(chunk)
    return writer.close()


def memory_of(rows: Sequence[Any] | dict[Any, Any], n: int) -> int:
    """Estimate how many bytes of memory `n` rows like these take."""
    some = list(islice(rows.items() if isinstance(rows, dict) else rows, 64))
    return (3 * len(packed(some)) // max(1, len(some)) + 100) * n
