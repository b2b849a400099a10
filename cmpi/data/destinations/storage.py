"""Where files are written: a local folder, or one reached through fsspec."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from cmpi.data.extras import fsspec


class Storage(Protocol):
    """A folder whose files are named relative to it; `staging/name` is a file in a subfolder."""

    def names(self) -> list[str]:
        """The files and folders in it, sorted, without hidden ones. Creates the folder if it does not
        exist."""

    def read(self, name: str) -> bytes:
        """The contents of a file. Raises: FileNotFoundError."""

    @contextmanager
    def written(self, name: str) -> Iterator[str]:
        """A context manager with a local path to write to. The file is complete once the block has ended
        without an exception."""

    def move(self, name: str, to: str) -> None:
        """Rename a file, replacing any file with that name. Creates the folder for it."""

    def unlink(self, name: str) -> None:
        """Remove a file, if it exists, and its folders inside of this one, if they are then empty."""

    def remove(self, folder: str) -> None:
        """Remove a folder with its contents, if it exists."""


def storage(folder: str) -> Storage:
    """The storage for a path; a path with a protocol is handled by fsspec."""
    return RemoteFolder(folder) if "://" in folder else LocalFolder(folder)


class LocalFolder:
    """A folder of this host's file system, whose files are written in place."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def names(self) -> list[str]:
        os.makedirs(self._folder, exist_ok=True)
        return sorted(name for name in os.listdir(self._folder) if not name.startswith("."))

    def read(self, name: str) -> bytes:
        with open(self._path(name), "rb") as file:
            return file.read()

    @contextmanager
    def written(self, name: str) -> Iterator[str]:
        os.makedirs(os.path.dirname(self._path(name)), exist_ok=True)
        yield self._path(name)

    def move(self, name: str, to: str) -> None:
        os.makedirs(os.path.dirname(self._path(to)), exist_ok=True)
        os.replace(self._path(name), self._path(to))

    def unlink(self, name: str) -> None:
        if os.path.exists(self._path(name)):
            os.unlink(self._path(name))
        with suppress(OSError):  # until a folder is not empty
            while name := os.path.dirname(name):
                os.rmdir(self._path(name))

    def remove(self, folder: str) -> None:
        shutil.rmtree(self._path(folder), ignore_errors=True)


class RemoteFolder:
    """A folder behind fsspec, such as an S3 prefix, where a file appears as a whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")

    def _at(self, name: str) -> tuple[Any, str]:
        system, path = fsspec().url_to_fs(f"{self._folder}/{name}")
        return system, path

    def names(self) -> list[str]:
        system, path = self._at("")
        system.invalidate_cache()
        if not system.exists(path):
            return []
        names = [each.rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)]
        return sorted(name for name in names if name and not name.startswith("."))

    def read(self, name: str) -> bytes:
        system, path = self._at(name)
        found: bytes = system.cat_file(path)
        return found

    @contextmanager
    def written(self, name: str) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="cmpi-upload-") as folder:
            local = os.path.join(folder, os.path.basename(name))
            yield local
            system, path = self._at(name)
            system.put_file(local, path)

    def move(self, name: str, to: str) -> None:
        system, path = self._at(name)
        system.mv(path, self._at(to)[1])

    def unlink(self, name: str) -> None:
        system, path = self._at(name)
        system.invalidate_cache()
        if system.exists(path):
            system.rm_file(path)

    def remove(self, folder: str) -> None:
        system, path = self._at(folder)
        system.invalidate_cache()
        if system.exists(path):
            system.rm(path, recursive=True)
