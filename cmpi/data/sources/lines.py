"""Decodes the lines of a part of a file, with line numbers for error messages."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from cmpi._core.data.partitions import Keys
from cmpi._core.data.splits import byte_ranges
from cmpi.data.errors import BadRow
from cmpi.data.sources.compression import compressed
from cmpi.data.sources.files import find_with_keys, opened
from cmpi.data.sources.reading import Place, Reading
from cmpi.errors import UsageError

BLOCK = 1 << 18  # bytes decoded at once
WHOLE = 1 << 62  # the end of a file of unknown size


@dataclass(frozen=True)
class Part:
    """The lines that begin at bytes from `begin` up to `end`."""

    path: str
    begin: int
    end: int
    encoding: str
    errors: str
    nbytes: int
    keys: Keys = ()  # the columns that the file's folders name

    def place(self, line: int) -> Place:
        """The place in the file of this part's n-th line; counts the lines before the part only now."""
        left, before = self.begin, 0
        if left:
            with opened(self.path) as file:
                left = _begin(file, self.begin)
                file.seek(0)
                while left > 0 and (block := file.read(min(left, 1 << 20))):
                    before += block.count(b"\n")
                    left -= len(block)
        return self.path, before + line

    def blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield its bytes, in blocks of whole lines."""
        at = _begin(file, self.begin) if self.begin else 0
        while at < self.end:
            block = file.read(min(BLOCK, self.end - at))
            if not block:
                return
            if not block.endswith(b"\n"):
                block += file.readline()
            if at == 0 and self.encoding == "utf-8" and block.startswith(codecs.BOM_UTF8):
                at, block = 3, block[3:]
            at += len(block)
            yield block

    def texts(self, file: BinaryIO, reading: Reading, counted: list[int]) -> Iterator[str]:
        """Yield its blocks as text. `counted[0]` is the number of lines before the last block yielded."""
        lines = 0
        for block in self.blocks(file):
            counted[0] = lines
            try:
                text = block.decode(self.encoding, self.errors)
            except UnicodeDecodeError:
                text = self._good_lines(block, reading, lines)
            yield text
            lines += block.count(b"\n")

    def _good_lines(self, block: bytes, reading: Reading, lines: int) -> str:
        good = []
        for number, line in enumerate(io.BytesIO(block), lines + 1):
            try:
                good.append(line.decode(self.encoding, self.errors))
            except UnicodeDecodeError as error:
                file, at = self.place(number)
                bad = line[error.start : error.start + 1].hex()
                reason = f"byte 0x{bad} is no {self.encoding} ({error.reason}); see encoding= and errors="
                reading.reject(BadRow(reason, file, at, error.start + 1), error)
        return "".join(good)


def _begin(file: BinaryIO, begin: int) -> int:
    """Seek to the first line that begins at `begin` or later."""
    file.seek(begin - 1)
    return begin - 1 + len(file.readline())


def split(line: str) -> list[str]:
    """The lines of a text without their ends; unlike `splitlines`, splits only at \\n and \\r\\n."""
    lines = line.split("\n")
    if not lines[-1]:
        lines.pop()
    if "\r" in line:
        lines = [each[:-1] if each.endswith("\r") else each for each in lines]
    return lines


def parts(paths: Any, split_bytes: int, encoding: str, errors: str, divide: bool = True) -> Iterator[Part]:
    """The parts of files, in order. A compressed file is one part; an empty file has none."""
    for path, nbytes, keys in find_with_keys(paths):
        if compressed(path) or not divide:
            yield Part(path, 0, WHOLE, encoding, errors, nbytes, keys)
        else:
            for begin, end in byte_ranges(nbytes, split_bytes):
                yield Part(path, begin, end, encoding, errors, end - begin, keys)


def known_encoding(encoding: str) -> str:
    """The canonical name of an encoding. Raises: UsageError: It is unknown, or a byte 10 need not end a
    line in it."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise UsageError(
            f"encoding must be a text encoding that Python knows; found {encoding!r}"
        ) from None
    if name.startswith(("utf-16", "utf-32")):
        raise UsageError(f"text in {encoding} cannot be split at its line ends; convert it to UTF-8")
    return "utf-8" if name == "utf-8-sig" else name
