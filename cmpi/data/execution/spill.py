"""Blocks of rows, on the disk of the host where a task wrote them."""

from __future__ import annotations

import itertools
import os
import pickle
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cmpi._runtime.linux.own_file import open_own
from cmpi._transport import pickling
from cmpi.data.chunks import is_table
from cmpi.data.execution.places import FETCH_BYTES, RemoteFile, fetched, folder_here, no_folder
from cmpi.data.extras import pyarrow

# If a task's blocks have no more than this in total, they are returned instead of written.
INLINE_BYTES = 64 * 1024
BLOCK_ROWS = 4096
AHEAD_BLOCKS = 256  # among which those are looked for that can be fetched together
IPC_STREAM = b"\xff\xff\xff\xff"  # its first bytes; a pickle begins with others
PARTS = b"parts"  # marks a pickle that contains others; a plain pickle ends with "."


@dataclass(frozen=True)
class RowBlock:
    """Rows on disk, or in memory if `data` is given."""

    nbytes: int
    rows: int
    path: str = ""
    offset: int = 0
    data: bytes | None = None


class BlockWriter:
    """Writes blocks to its own file, in the job's folder on this host; small blocks stay in memory until
    there are many. Raises: NoFolder: There is none on this host."""

    def __init__(self) -> None:
        self._path = new_path()
        self._file: Any = None
        self._small: list[bytes] = []  # the blocks so far, while they are small
        self._small_bytes = 0
        self._blocks: list[RowBlock] = []

    def write(self, rows: Sequence[Any]) -> int:
        """Write a block; returns its index in the result of `close`."""
        body = packed(rows)
        if self._file is None:
            self._small.append(body)
            self._small_bytes += len(body)
            self._blocks.append(RowBlock(len(body), len(rows), data=body))
            if self._small_bytes > INLINE_BYTES:
                self._to_disk()
        else:
            self._blocks.append(RowBlock(len(body), len(rows), self._path, self._file.tell()))
            self._file.write(body)
        return len(self._blocks) - 1

    def _to_disk(self) -> None:
        self._file = created(self._path)
        for i, body in enumerate(self._small):
            self._blocks[i] = RowBlock(len(body), self._blocks[i].rows, self._path, self._file.tell())
            self._file.write(body)
        self._small.clear()

    def close(self) -> list[RowBlock]:
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


def read(blocks: Iterable[RowBlock]) -> Iterator[Any]:
    """Yield the rows of each block: a list, or a table."""
    path, file = "", None
    remote = RemoteBlocks()
    try:
        for block, later in with_later(blocks):
            if block.data is not None:
                yield unpacked(block.data)
                continue
            if block.path != path:
                if file is not None:
                    file.close()
                path, file = block.path, opened(block.path)
            if file is None:
                yield unpacked(remote.read(block, later))
            else:
                file.seek(block.offset)
                yield unpacked(file.read(block.nbytes))
    finally:
        if file is not None:
            file.close()


def with_later(blocks: Iterable[RowBlock]) -> Iterator[tuple[RowBlock, Iterable[RowBlock]]]:
    """Yield each block, and those that follow it."""
    every = list(blocks)
    for i, block in enumerate(every, 1):
        yield block, itertools.islice(every, i, i + AHEAD_BLOCKS)


class RemoteBlocks:
    """Reads blocks on other hosts; small ones that follow each other, several at a time."""

    def __init__(self) -> None:
        self._ahead: dict[tuple[str, int], Any] = {}

    def read(self, block: RowBlock, later: Iterable[RowBlock]) -> Any:
        """The bytes of a block. Blocks: for its host. Raises: Unreachable."""
        found = self._ahead.pop((block.path, block.offset), None)
        if found is None and block.nbytes > FETCH_BYTES:
            file = RemoteFile(block.path)
            file.seek(block.offset)
            found = file.read(block.nbytes)
        elif found is None:
            asked, nbytes = [block], block.nbytes
            folder = os.path.dirname(block.path)
            for each in later:
                nbytes += each.nbytes
                if nbytes > FETCH_BYTES:
                    break
                if each.data is None and os.path.dirname(each.path) == folder:
                    asked.append(each)
            found, *others = fetched(folder, [(each.path, each.offset, each.nbytes) for each in asked])
            self._ahead.update({(each.path, each.offset): part for each, part in zip(asked[1:], others)})
        return bytes(found)


def new_path() -> str:
    """A path in the job's folder on this host, for a file that is not there yet. Raises: NoFolder."""
    return os.path.join(folder_here(), uuid.uuid4().hex)


def created(path: str) -> Any:
    """Create a file of the job. Raises: NoFolder: Its folder was removed."""
    try:
        return open(path, "xb", buffering=1 << 18)
    except FileNotFoundError:
        raise no_folder() from None


def opened(path: str) -> Any:
    """Open a file of the job; None if it is on another host."""
    try:
        return open_own(path)
    except FileNotFoundError:
        return None


def stored(rows: Sequence[Any], folder: str) -> RowBlock:
    """Write rows as one block, in a folder of this host unless it is small."""
    body = packed(rows)
    if len(body) <= INLINE_BYTES // 16:
        return RowBlock(len(body), len(rows), data=body)
    path = os.path.join(folder, uuid.uuid4().hex)
    with open(path, "xb") as file:
        file.write(body)
    return RowBlock(len(body), len(rows), path)


def write_rows(rows: Iterable[Any]) -> list[RowBlock]:
    """Write rows as blocks, in order."""
    writer = BlockWriter()
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, BLOCK_ROWS)):
        writer.write(chunk)
    return writer.close()


def memory_of(rows: Sequence[Any] | dict[Any, Any], n: int) -> int:
    """Estimate how many bytes of memory `n` rows like these take."""
    some = list(itertools.islice(rows.items() if isinstance(rows, dict) else rows, 64))
    return (3 * len(packed(some)) // max(1, len(some)) + 100) * n
