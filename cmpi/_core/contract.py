"""The type of a channel: checked on every send, compared by both ends."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable

from cmpi.errors import ContractMismatch

# What PEP 484 lets pass where the wider number is asked for.
_NUMERIC_TOWER: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}


class Contract:
    """The type that a channel carries; `Any` carries everything and fits to everything.

    Checking looks at the value itself, not into containers: the cost is constant. A plain class
    is one isinstance; `list[int]` asks for a list; a numpy array type for its dtype as well.
    """

    def __init__(self, hint: object = typing.Any) -> None:
        self.hint = hint
        self.text = describe(hint)
        self._accepts = _checker(hint)

    def check(self, value: object) -> None:
        """Let the value pass.

        Raises:
            ContractMismatch: It is not of the channel's type.
        """
        if not self._accepts(value):
            raise ContractMismatch(
                f"the channel carries {self.text}; found {_describe_value(value)}: {_short(value)}"
            )


def fits(one: str, other: str) -> bool:
    """Whether two ends, each by its contract's text, belong together."""
    return one == other or "Any" in (one, other)


def describe(hint: object) -> str:
    """A hint as text, the same for the same type in any process.

    >>> describe(int), describe(typing.Optional[int]), describe(list[int])
    ('int', 'int | None', 'list[int]')
    """
    if hint is typing.Any:
        return "Any"
    if hint is None or hint is type(None):
        return "None"
    dtype = _array_dtype(hint)
    if dtype is not None:
        return f"NDArray[{dtype}]"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(describe(item) for item in arguments)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        inside = ", ".join("..." if item is Ellipsis else describe(item) for item in arguments)
        return f"{describe(origin)}[{inside}]" if inside else describe(origin)
    if isinstance(hint, type):
        module = hint.__module__
        return hint.__qualname__ if module in ("builtins", "__main__") else f"{module}.{hint.__qualname__}"
    return str(hint)


def _checker(hint: object) -> Callable[[object], bool]:
    if hint is typing.Any:
        return lambda value: True
    if hint is None:
        return lambda value: value is None
    dtype = _array_dtype(hint)
    if dtype is not None:
        wanted = ("Any", dtype)
        return lambda value: (
            hasattr(value, "__array__") and (dtype == "Any" or str(getattr(value, "dtype", "")) in wanted)
        )
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        checkers = [_checker(item) for item in arguments]
        return lambda value: any(accepts(value) for accepts in checkers)
    if origin is typing.Literal:
        return lambda value: value in arguments
    kind = origin if isinstance(origin, type) else hint
    if kind in _NUMERIC_TOWER:
        kinds = _NUMERIC_TOWER[kind]
        return lambda value: isinstance(value, kinds)
    if isinstance(kind, type):
        name = (kind.__module__, kind.__qualname__)
        # A class of __main__ exists once in each process: the name decides, as for pickle.
        if kind.__module__ == "__main__":
            return lambda value: any((c.__module__, c.__qualname__) == name for c in type(value).__mro__)
        return lambda value: isinstance(value, kind)
    return lambda value: True  # a TypeVar, a NewType: nothing that could be looked at


def _array_dtype(hint: object) -> str | None:
    """The dtype's name if the hint is a numpy array type with one, "Any" for any, else None."""
    origin = typing.get_origin(hint)
    if getattr(origin, "__module__", "") != "numpy" or getattr(origin, "__name__", "") != "ndarray":
        return None
    arguments = typing.get_args(hint)
    inner = typing.get_args(arguments[1]) if len(arguments) > 1 else ()
    if not inner or not isinstance(inner[0], type):
        return "Any"
    return inner[0].__name__.rstrip("_")


def _describe_value(value: object) -> str:
    dtype = getattr(value, "dtype", None)
    name = describe(type(value))
    return name if dtype is None else f"{name} of {dtype}, shape {getattr(value, 'shape', '?')}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
