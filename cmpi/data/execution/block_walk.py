"""Finds and replaces the blocks in splits and in the results of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from cmpi.data.execution.spill import RowBlock

_PACKAGE = __name__.rpartition(".")[0]  # of splits that have blocks in them


def blocks_in(value: Any) -> Iterator[RowBlock]:
    """The blocks in a value, in its order."""
    if isinstance(value, RowBlock):
        yield value
        return
    for each in _parts(value):
        yield from blocks_in(each)


def with_blocks(value: Any, new: Callable[[RowBlock], RowBlock]) -> Any:
    """The value with the block that `new` returns in the place of each block."""
    if isinstance(value, RowBlock):
        return new(value)
    if isinstance(value, dict):
        return {key: with_blocks(each, new) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [with_blocks(each, new) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if _has_fields(value):
        return replace(
            value, **{each.name: with_blocks(getattr(value, each.name), new) for each in fields(value)}
        )
    return value


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (tuple, list)):
        return value
    return [getattr(value, each.name) for each in fields(value)] if _has_fields(value) else ()


def _has_fields(value: Any) -> bool:
    return is_dataclass(value) and type(value).__module__.startswith(f"{_PACKAGE}.")
