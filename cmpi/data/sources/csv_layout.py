"""The layout of CSV files, which is determined before their rows are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Types = Mapping[str, Callable[[str], Any]]


@dataclass(frozen=True)
class CsvLayout:
    """How to interpret the files: see `cmpi.data.csv`.

    Attributes:
        header: The names of all columns of the files.
        in_file: Whether each file has its header in its first row.
        wanted: The columns to read; None: all.
        types: Functions that convert text to values, by column.
        delimiter: The character between fields.
        keys: The columns that folders name, with their types. Their values are the same in all rows of a
            file, whatever the file has in a column of that name.
    """

    header: tuple[str, ...]
    in_file: bool
    wanted: tuple[str, ...] | None
    types: Types
    delimiter: str
    quoted_newlines: bool
    keys: Mapping[str, type] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the records."""
        return self.every(self.header) if self.wanted is None else self.wanted

    def every(self, header: tuple[str, ...]) -> tuple[str, ...]:
        """All columns of a file with this header."""
        return (*header, *(name for name in self.keys if name not in header))
