"""Hive partitions: folders named `column=value`, whose files all have that value in that column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = ("_", ".")  # folders and files whose names begin so are not read
NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)

Keys = tuple[tuple[str, Any], ...]  # columns and values


def is_partition(folder: str) -> bool:
    """Whether a folder's name names a column and a value, and is not hidden."""
    return "=" in folder and not folder.startswith(("=", *HIDDEN))


def keys_of(folders: Iterable[str]) -> Keys:
    """The columns that the folders on the way to a file name, and their values as text or None.

    >>> keys_of(["logs", "year=2024", "city=S%C3%A3o"])
    (('year', '2024'), ('city', 'São'))
    """
    pairs = (folder.split("=", 1) for folder in folders if is_partition(folder))
    found = {unquote(name): None if value == NULL else unquote(value) for name, value in pairs}
    return tuple(found.items())


def typed(every: Sequence[Keys]) -> list[Keys]:
    """The keys of all files with the types of their values: int if all values of a column are integers of
    32 bits, and str otherwise.

    Source: as pyarrow.dataset finds types.
    """
    texts = {name for keys in every for name, value in keys if value is not None and not _is_integer(value)}
    valued = {name for keys in every for name, value in keys if value is not None}
    integers = valued - texts

    def value_of(name: str, text: str | None) -> Any:
        return int(text) if name in integers and text is not None else text

    return [tuple((name, value_of(name, text)) for name, text in keys) for keys in every]


def _is_integer(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text)) and -(2**31) <= int(text) < 2**31


def folder_of(keys: Mapping[str, Any]) -> str:
    """The folders for these columns and values, one inside the other.

    >>> folder_of({"year": 2024, "city": "São", "n": None})
    'year=2024/city=S%C3%A3o/n=__HIVE_DEFAULT_PARTITION__'
    """
    return "/".join(f"{_column(name)}={_quoted(value)}" for name, value in keys.items())


def _column(name: str) -> str:
    first = f"%{ord(name[0]):02X}" if name.startswith(HIDDEN) else quote(name[:1], safe="")
    return first + quote(name[1:], safe="")


def _quoted(value: Any) -> str:
    if value is None:
        return NULL
    return quote(str(value).lower() if isinstance(value, bool) else str(value), safe=" :")
