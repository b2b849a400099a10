"""Text files, one row for each line; JSON Lines, one document on each line; and JSON files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cmpi.data.errors import BadRow
from cmpi.data.sources import lines
from cmpi.data.sources.files import opened
from cmpi.data.sources.lines import Part
from cmpi.data.sources.reading import Place, Reading


@dataclass(frozen=True)
class Lines:
    """A split of a text file."""

    part: Part

    @property
    def nbytes(self) -> int:
        """The size of its part of the file."""
        return self.part.nbytes

    def rows(self, reading: Reading) -> Iterator[str]:
        """Yield the lines, without their ends."""
        counted = [0]

        def lists() -> Iterator[list[str]]:
            with opened(self.part.path) as file:
                for text in self.part.texts(file, reading, counted):
                    yield lines.split(text)

        def place(i: int) -> Place:
            return self.part.place(counted[0] + i + 1)

        return reading.lists(lists(), place)


@dataclass(frozen=True)
class JsonLines:
    """A split of a file of JSON Lines."""

    part: Part

    @property
    def nbytes(self) -> int:
        """The size of its part of the file."""
        return self.part.nbytes

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the documents; empty lines are skipped."""
        return self._parsed(Lines(self.part).rows(reading), reading)

    def _parsed(self, texts: Iterator[str], reading: Reading) -> Iterator[Any]:
        parse = json.loads
        for text in texts:
            try:
                row = parse(text)
            except json.JSONDecodeError as error:
                if text.strip():
                    file, line = reading.where()
                    reading.reject(BadRow(f"no JSON: {error.msg}", file, line, error.colno), error)
                continue
            yield row


@dataclass(frozen=True)
class JsonFile:
    """A split of one file with one document."""

    part: Part

    @property
    def nbytes(self) -> int:
        """The size of the file."""
        return self.part.nbytes

    def rows(self, reading: Reading) -> Iterator[Any]:
        """Yield the items of a list, or the only document."""
        with opened(self.part.path) as file:
            texts = list(self.part.texts(file, reading, [0]))
        try:
            found = json.loads("".join(texts))
        except json.JSONDecodeError as error:
            reason = f"no JSON: {error.msg}"
            reading.reject(BadRow(reason, self.part.path, error.lineno, error.colno), error)
            return iter(())
        return reading.numbered(found if isinstance(found, list) else [found])


@dataclass(frozen=True)
class TextFiles:
    """Files of lines."""

    paths: Any
    split_bytes: int
    encoding: str
    errors: str
    word: str = "text"
    split: Callable[[Part], Any] = Lines
    divide: bool = True

    def splits(self) -> list[Any]:
        """Parts of the files."""
        parts = lines.parts(self.paths, self.split_bytes, self.encoding, self.errors, self.divide)
        return list(map(self.split, parts))

    def describe(self) -> str:
        """The source as plans show it."""
        return f"{self.word} {self.paths}"
