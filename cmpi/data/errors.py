"""The errors of streams; a source's file system may raise others."""

from __future__ import annotations

from typing import Any

from cmpi.errors import CmpiError


class BadRow(CmpiError, ValueError):
    """A row could not be read, or a user's function raised an exception for it.

    Attributes:
        reason: What is wrong; for an exception, its type and text.
        file: The row's file; "" if it does not come from a file.
        line: The number of its line in the file, or of its row in the split; 0 if not known.
        column: The column's name, or the number of the character, from 1; None if not known.
        near: True if the place is approximate: it is this row, or one of the last rows before it.
    """

    def __init__(
        self,
        reason: str,
        file: str = "",
        line: int = 0,
        column: str | int | None = None,
        near: bool = False,
    ) -> None:
        self.reason, self.file, self.line, self.column, self.near = reason, file, line, column, near
        place = (
            f"{file}, line {line}"
            if file and line
            else file or (f"row {line} of its split" if line else "")
        )
        if column is not None:
            place += f", column {column}"
        if near and place:
            place = f"at or shortly before {place}"
        super().__init__(f"{place}: {reason}" if place else reason)

    def __reduce__(self) -> Any:
        return BadRow, (self.reason, self.file, self.line, self.column, self.near)


class UnreadableFile(CmpiError, OSError):
    """A file does not have the expected format, or is truncated."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file} cannot be read: {reason}")

    def __reduce__(self) -> Any:
        return UnreadableFile, (self.file, self.reason)


class DatabaseError(CmpiError, OSError):
    """A database refused something, or cannot be reached. A write that fails so has changed nothing."""

    def __init__(self, database: str, reason: str) -> None:
        self.database, self.reason = database, reason
        super().__init__(f"{database}: {reason}")

    def __reduce__(self) -> Any:
        return DatabaseError, (self.database, self.reason)


class Misplaced(CmpiError):
    """A task cannot write or read files of its job where it runs; the job mends that, and runs it again."""


class NotColumnar(CmpiError):
    """A split cannot be read in columns, and is read in rows instead."""


def described(error: BaseException) -> str:
    """Describe an exception in one line."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be made)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
