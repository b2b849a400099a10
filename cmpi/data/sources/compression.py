"""Decompresses files by the endings of their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from cmpi.data.errors import UnreadableFile
from cmpi.data.extras import MissingExtra, zstd

BUFFER = 1 << 18
# The first frame of a .warc.zst file may be a dictionary, with which the others are compressed.
DICTIONARY = b"\x5d\x2a\x4d\x18"
FRAME = b"\x28\xb5\x2f\xfd"  # how a frame with content begins: the dictionary may be compressed, too


def _zst(raw: Any) -> Any:
    return zstd().ZstdFile(raw)


OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zst}


def compressed(path: str) -> bool:
    """Whether the file can only be read from its beginning, because it is compressed."""
    return os.path.splitext(path)[1] in OPENERS


def decompressed(path: str, raw: BinaryIO) -> BinaryIO:
    """A file object of the content of a compressed file.

    Args:
        path: The name, which determines the format.
        raw: The file.

    Raises:
        UnreadableFile: While it is read: it is not in the compressed format, or truncated. The message has
            the number of bytes of its content before that.
        MissingExtra: While it is read: the decompressor is not installed.
    """
    return cast(BinaryIO, io.BufferedReader(_Content(path, raw), BUFFER))


class _Content(io.RawIOBase):
    """The content of a compressed file; counts the bytes that were read of it, for errors."""

    def __init__(self, path: str, raw: BinaryIO) -> None:
        self._path, self._raw, self._nbytes = path, raw, 0
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, perhaps in part; 0 at the end."""
        room = memoryview(buffer).cast("B")
        found = self._done(lambda file: file.read1(len(room)))
        room[: len(found)] = found
        self._nbytes += len(found)
        return len(found)

    def seekable(self) -> bool:
        """True: fastwarc seeks, if only to where it is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place, by reading up to there."""
        self._nbytes = self._done(lambda file: file.seek(offset, whence))
        return self._nbytes

    def _done(self, use: Callable[[Any], Any]) -> Any:
        """Use the decompressor. Raises: UnreadableFile: libraries pass it on, because it is an OSError."""
        try:
            if self._file is None:
                self._file = _decompressor(self._path, self._raw)
            return use(self._file)
        except MissingExtra:
            raise
        except Exception as error:  # the formats have different ones
            ending = os.path.splitext(self._path)[1]
            raise UnreadableFile(
                self._path,
                f"{error}, after {self._nbytes:,} bytes of content. It is truncated, damaged, or no "
                f"{ending} file.",
            ) from error

    def close(self) -> None:
        if self._file is not None and not self.closed:
            self._file.close()
        super().close()


def _decompressor(path: str, raw: BinaryIO) -> Any:
    return _with_dictionary(raw) if path.endswith(".warc.zst") else OPENERS[os.path.splitext(path)[1]](raw)


def _with_dictionary(raw: BinaryIO) -> Any:
    head = raw.read(8)
    if head[:4] != DICTIONARY:
        raw.seek(0)
        return _zst(raw)
    nbytes = int.from_bytes(head[4:], "little")
    found = raw.read(nbytes)
    if len(head) < 8 or len(found) < nbytes:
        raise EOFError("its dictionary is incomplete")
    if found.startswith(FRAME):
        found = zstd().decompress(found)
    return zstd().ZstdFile(raw, zstd_dict=zstd().ZstdDict(found))
