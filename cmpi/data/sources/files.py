"""Finds and opens files by path, glob or folder, local or through fsspec, compressed or not."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from cmpi._base.units import parse_memory
from cmpi.data.errors import UnreadableFile
from cmpi.data.extras import fsspec
from cmpi.errors import UsageError

DECOMPRESSORS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
Paths = str | os.PathLike[str] | list[str] | list[os.PathLike[str]]


def find(paths: Paths) -> list[tuple[str, int]]:
    """Return the files, sorted by path within each pattern, with their sizes in bytes.

    Args:
        paths: A path, a glob (`*`, `?`, `[..]`, `**`), a folder (for its files), or a list of these. Files
            whose names begin with `.` or `_` are left out of globs and folders.

    Raises:
        FileNotFoundError: No file matches.

    Blocks: for the file system.
    """
    found: list[tuple[str, int]] = []
    for path in paths if isinstance(paths, list) else [paths]:
        text = os.fspath(path)
        matches = _remote(text) if "://" in text else _local(text)
        if not matches:
            raise FileNotFoundError(f"no file matches {text!r} (working folder: {os.getcwd()})")
        found += matches
    return found


def _local(text: str) -> list[tuple[str, int]]:
    if os.path.isdir(text):
        text = os.path.join(glob.escape(text), "*")
    elif os.path.exists(text):
        return [(text, os.path.getsize(text))]
    names = [name for name in sorted(glob.glob(text, recursive=True)) if os.path.isfile(name)]
    return [(name, os.path.getsize(name)) for name in names if not os.path.basename(name).startswith("_")]


def _remote(text: str) -> list[tuple[str, int]]:
    system, path = fsspec().url_to_fs(text)
    if system.isdir(path):
        path = f"{path.rstrip('/')}/*"
    names = sorted(system.glob(path)) if any(each in path for each in "*?[") else [path]
    names = [name for name in names if system.isfile(name)]
    hidden = ("_", ".")
    if len(names) > 1:
        names = [name for name in names if not name.rpartition("/")[2].startswith(hidden)]
    return [(system.unstrip_protocol(name), system.size(name)) for name in names]


def compressed(path: str) -> bool:
    """Whether the file can only be read from its beginning, because it is compressed."""
    return os.path.splitext(path)[1] in DECOMPRESSORS


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, decompressing it.

    Raises:
        UnreadableFile: While it is read: it is not in the compressed format, or truncated.
    """
    with _open(path) as raw:
        decompress = DECOMPRESSORS.get(os.path.splitext(path)[1])
        if decompress is None:
            yield raw
            return
        try:
            with decompress(raw) as file:
                yield cast(BinaryIO, io.BufferedReader(file, 1 << 18))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, UnreadableFile):
                raise
            raise UnreadableFile(path, f"{error}. It is truncated or not compressed so.") from error


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
