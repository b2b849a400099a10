"""A folder that a stream is written to: all of it, or nothing.

Tasks write into a hidden folder in it, under names that only their split and the number of the file
determine: a task that is tried again writes the same names again, from the beginning. When all have ended,
the files are moved to their places one after another, and the manifest last: a folder with a manifest is
complete.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from cmpi.data.destinations.formats import Write
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
    """What was written: the same as is in `_manifest.json`.

    Attributes:
        format: "parquet", "csv", "json" or "text".
        rows: Their number, in all files.
        files: The files, in the order of the stream.
    """

    format: str
    rows: int
    files: tuple[WrittenFile, ...]


class Destination:
    """A folder to write to.

    Args:
        folder: It is made, if it is not there.
        form: The ending of the files' names.
        overwrite: Replace what an earlier stream has written there.

    Raises:
        UsageError: There is something in it, and `overwrite` is False; or it is not a local path.
    """

    def __init__(self, folder: Any, form: str, overwrite: bool) -> None:
        self._folder, self._form = os.fspath(folder), form
        if "://" in self._folder:
            raise UsageError(f"streams are written to local folders; found {self._folder!r}")
        os.makedirs(self._folder, exist_ok=True)
        there = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        if there and not overwrite:
            raise UsageError(
                f"{self._folder} must be empty to write a stream there; found {there[0]} and "
                f"{len(there) - 1} more. Choose another folder, or overwrite=True to replace what an "
                "earlier stream has written."
            )
        self._before = self._earlier()
        self.staging = os.path.join(self._folder, f".cmpi-{uuid.uuid4().hex}")
        os.mkdir(self.staging)

    def _earlier(self) -> set[str]:
        """The files that an earlier stream has written."""
        try:
            with open(os.path.join(self._folder, MANIFEST), encoding="utf-8") as file:
                return {os.path.basename(each["name"]) for each in json.load(file)["files"]}
        except FileNotFoundError:
            return set()
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{MANIFEST} in {self._folder} is none of cmpi's: {error}") from error

    def commit(self, splits: Iterable[list[WrittenFile]]) -> Manifest:
        """Move the files to their places, once all are written. Blocks: until they are."""
        files = tuple(chain.from_iterable(splits))
        manifest = Manifest(self._form, sum(file.rows for file in files), files)
        staged = os.path.join(self.staging, MANIFEST)
        with open(staged, "w", encoding="utf-8") as file:
            json.dump(asdict(manifest), file, indent=1)
        if self._before:
            os.unlink(os.path.join(self._folder, MANIFEST))  # the folder is not complete meanwhile
        for each in files:
            os.replace(os.path.join(self.staging, each.name), os.path.join(self._folder, each.name))
        for name in self._before - {each.name for each in files}:
            if os.path.exists(path := os.path.join(self._folder, name)):
                os.unlink(path)
        os.replace(staged, os.path.join(self._folder, MANIFEST))
        return manifest

    def close(self) -> None:
        """Remove what was not committed."""
        shutil.rmtree(self.staging, ignore_errors=True)


def write_split(
    parts: Iterable[Iterator[Any]], staging: str, number: int, ending: str, write: Write
) -> list[WrittenFile]:
    """Write the files of one split, one for each part; those of an earlier attempt are removed first."""
    stem = os.path.join(staging, f"part-{number:05}")
    for path in glob.glob(f"{glob.escape(stem)}-*"):
        os.unlink(path)
    files: list[WrittenFile] = []
    for part in parts:
        path = f"{stem}-{len(files):03}.{ending}"
        n = write(path, part)
        files.append(WrittenFile(os.path.basename(path), n, os.path.getsize(path)))
    return files
