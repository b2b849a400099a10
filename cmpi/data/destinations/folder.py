"""Writes a stream to a folder, completely or not at all.

Tasks write into a hidden subfolder. The names there depend only on the split and the number of the file, so
a task that is retried overwrites its own files. When all tasks have ended, the files are moved into place
one after another, the manifest last: a folder with a manifest is complete.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cmpi._core.data.partitions import is_partition
from cmpi.data.destinations.formats import Write
from cmpi.data.destinations.storage import storage
from cmpi.errors import UsageError

MANIFEST = "_manifest.json"


@dataclass(frozen=True)
class WrittenFile:
    """A file of a manifest: its name in the folder, its rows, and its size in bytes."""

    name: str
    rows: int
    nbytes: int


@dataclass(frozen=True)
class Manifest:
    """A list of the written files, with the same content as `_manifest.json`.

    Attributes:
        format: "parquet", "ipc", "csv", "json" or "text".
        rows: The number of rows in all files.
        files: The files, in the order of the stream.
    """

    format: str
    rows: int
    files: tuple[WrittenFile, ...]


class Destination:
    """A folder to write to.

    Args:
        folder: Created if it does not exist. A path with a protocol ("s3://...") is handled by fsspec.
        form: The extension of the files' names.
        overwrite: Replace what an earlier stream has written there.

    Raises:
        UsageError: The folder is not empty, and `overwrite` is False.
    """

    def __init__(self, folder: Any, form: str, overwrite: bool) -> None:
        self.folder, self._form = os.fspath(folder), form
        self._storage = storage(self.folder)
        there = self._storage.names()
        if there and not overwrite:
            raise UsageError(
                f"{self.folder} must be empty to write a stream there; found {there[0]} and "
                f"{len(there) - 1} more. Choose another folder, or overwrite=True to replace what an "
                "earlier stream has written."
            )
        self._before = self._earlier()
        self.staging = f".cmpi-{uuid.uuid4().hex}"

    def _earlier(self) -> set[str]:
        """The files that an earlier stream has written."""
        try:
            manifest = json.loads(self._storage.read(MANIFEST))
            return {_inside(each["name"]) for each in manifest["files"]}
        except FileNotFoundError:
            return set()
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{MANIFEST} in {self.folder} was not written by cmpi: {error}") from error

    def commit(self, splits: Iterable[list[WrittenFile]]) -> Manifest:
        """Move the files to their places, after all are written. Blocks: until that is done."""
        staged_as = {
            file: staged_name(self.staging, number, file.name)
            for number, written in enumerate(splits)
            for file in written
        }
        files = tuple(staged_as)
        manifest = Manifest(self._form, sum(file.rows for file in files), files)
        staged = f"{self.staging}/{MANIFEST}"
        with self._storage.written(staged) as path, open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(manifest), file, indent=1)
        self._storage.unlink(MANIFEST)  # until the files are in place, the folder is incomplete
        for each in files:
            self._storage.move(staged_as[each], each.name)
        for name in self._before - {each.name for each in files}:
            self._storage.unlink(name)
        self._storage.move(staged, MANIFEST)
        return manifest

    def close(self) -> None:
        """Remove what was not committed."""
        self._storage.remove(self.staging)


def _inside(name: str) -> str:
    """The name of a file that an earlier stream has written. Raises: ValueError: It cannot be one."""
    *folders, file = name.split("/")
    if not file.startswith("part-") or not all(map(is_partition, folders)):
        raise ValueError(f"{name!r} is no file of a stream")
    return name


def staged_name(staging: str, number: int, name: str) -> str:
    """Where a file of a split is until all splits are written."""
    return f"{staging}/{number:05}/{name}"


def write_split(
    parts: Iterable[tuple[str, Iterator[Any]]],
    folder: str,
    staging: str,
    number: int,
    ending: str,
    write: Write,
) -> list[WrittenFile]:
    """Write the files of one split, one for each part; first remove those of an earlier attempt.

    Args:
        parts: The folder of each file inside of `folder`, or "", and its rows.
        folder: The destination.
        staging: The folder inside of it for files until all splits are written.
        number: The number of the split.
        ending: What the files' names end with.
        write: Writes a file.
    """
    to = storage(folder)
    to.remove(staged_name(staging, number, "").rstrip("/"))
    files: list[WrittenFile] = []
    for inside, part in parts:
        name = f"part-{number:05}-{len(files):03}.{ending}"
        name = f"{inside}/{name}" if inside else name
        with to.written(staged_name(staging, number, name)) as path:
            n = write(path, part)
            nbytes = os.path.getsize(path)
        files.append(WrittenFile(name, n, nbytes))
    return files
