"""cloudpickle's pickler, but code keeps the name of its file."""

from __future__ import annotations

import types
from collections import ChainMap

import cloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMELESS = "<dynamic-code>"  # what cloudpickle 3.1 writes in place of a file's name


def _reduce_code(code: types.CodeType) -> Any:
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if each == _NAMELESS else each for each in arguments)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Functions and classes of `__main__` by value, with the name that tracebacks and reports show."""

    dispatch_table = ChainMap({types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)
