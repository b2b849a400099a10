"""Finds and opens files by path, glob or folder, local or through fsspec, compressed or not."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from cmpi._base.units import parse_memory
from cmpi._core.data.partitions import HIDDEN, Keys, is_partition, keys_of, typed
from cmpi.data.extras import fsspec
from cmpi.data.sources.compression import compressed, decompressed
from cmpi.errors import UsageError

WILDCARD = re.compile(r"[*?[]")
Paths = str | os.PathLike[str] | list[str] | list[os.PathLike[str]]


class File(NamedTuple):
    """A file, its size in bytes, and the columns and values that its folders name."""

    path: str
    nbytes: int
    keys: Keys = ()


def find(paths: Paths) -> list[tuple[str, int]]:
    """Return the files, sorted by path within each pattern, with their sizes in bytes.

    Args:
        paths: A path, a glob (`*`, `?`, `[..]`, `**`), a folder (for its files), or a list of these. Files
            whose names begin with `.` or `_` are left out of globs and folders. Folders named
            `column=value` stand for the files in them.

    Raises:
        FileNotFoundError: No file matches.

    Blocks: for the file system.
    """
    return [(file.path, file.nbytes) for file in find_with_keys(paths)]


def find_with_keys(paths: Paths) -> list[File]:
    """As `find`, with the columns and values that are named by folders below a folder of `paths`, or by the
    parts of a path from the first one that has a wildcard."""
    found: list[File] = []
    for path in paths if isinstance(paths, list) else [paths]:
        text = os.fspath(path)
        matches = _remote(text) if "://" in text else _local(text)
        if not matches:
            raise FileNotFoundError(f"no file matches {text!r} (working folder: {os.getcwd()})")
        found += matches
    keys = typed([file.keys for file in found])
    return [file._replace(keys=each) for file, each in zip(found, keys)]


def _local(text: str) -> list[File]:
    if os.path.isdir(text):
        base, names = text, glob.glob(os.path.join(glob.escape(text), "*"))
    elif os.path.exists(text):
        return [File(text, os.path.getsize(text))]
    else:
        base, names = _before_wildcard(text), glob.glob(text, recursive=True)
    files = [name for name in names if os.path.isfile(name)]
    for name in names:
        if is_partition(os.path.basename(name)):
            files += _below(name)
    return [
        File(name, os.path.getsize(name), _keys(os.path.relpath(name, base or ".")))
        for name in sorted(set(files))
        if not _is_hidden(name)
    ]


def _below(folder: str) -> list[str]:
    """The files in a folder that is a partition, and in the partitions inside it."""
    found = []
    for name, folders, files in os.walk(folder):
        folders[:] = filter(is_partition, folders)
        found += [os.path.join(name, file) for file in files]
    return found


def _before_wildcard(path: str) -> str:
    """The folders of a path before the first part that has a wildcard."""
    return WILDCARD.split(path, maxsplit=1)[0].rpartition("/")[0]


def _keys(path: str) -> Keys:
    return keys_of(path.split("/")[:-1])


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(HIDDEN)


def _remote(text: str) -> list[File]:
    system, path = fsspec().url_to_fs(text)
    if system.isdir(path):
        base, names = path.rstrip("/"), system.glob(f"{path.rstrip('/')}/*")
    elif WILDCARD.search(path):
        base, names = _before_wildcard(path), system.glob(path)
    else:
        return [_remote_file(system, path)] if system.isfile(path) else []
    files = {name for name in names if system.isfile(name)}
    for name in names:
        if is_partition(name.rstrip("/").rpartition("/")[2]):
            below = len(name.rstrip("/")) + 1
            files.update(
                file for file in system.find(name) if all(map(is_partition, file[below:].split("/")[:-1]))
            )
    return [_remote_file(system, name, base) for name in sorted(files) if not _is_hidden(name)]


def _remote_file(system: Any, path: str, base: str = "") -> File:
    keys = _keys(path.removeprefix(base).lstrip("/")) if base else ()
    return File(system.unstrip_protocol(path), system.size(path), keys)


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, decompressing it. Raises, while it is read: see `decompressed`."""
    with _open(path) as raw:
        if not compressed(path):
            yield raw
            return
        with decompressed(path, raw) as file:
            yield file


def _open(path: str) -> Any:
    if "://" not in path:
        return open(path, "rb", buffering=1 << 18)
    system, path = fsspec().url_to_fs(path)
    return system.open(path, "rb")


def split_bytes_of(text: int | str) -> int:
    """Parse the size of splits. Raises: UsageError: It is less than 1 KiB."""
    nbytes = parse_memory(text)
    if nbytes < 1024:
        raise UsageError(f"split_bytes must be 1 KiB or more; found {text!r}")
    return nbytes
