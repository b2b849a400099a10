"""The type of a channel, which is checked on every send and compared by both ends."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable

from cmpi._base.brief import brief
from cmpi.errors import ContractMismatch, UsageError

# PEP 484 accepts these narrower numbers where the wider one is expected.
_NUMERIC_TOWER: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}


class Contract:
    """The type that a channel carries; `Any` accepts every value and is compatible with every type.

    The cost of a check is constant. A plain class takes one isinstance; a numpy array type also checks the
    dtype and the shape; deeper types, such as `list[int]`, are left to beartype, which checks the container
    and one item of each level.

    Attributes:
        text: The type in words, the same for the same type in any process.
        anything: Whether it accepts every value.
        array: Whether it is a numpy array of some dtype, which can travel without pickle.
        accepts: Whether a value is of the type.
    """

    def __init__(self, hint: object = typing.Any) -> None:
        self.text, self.anything = describe(hint), hint is typing.Any
        self.array = _array_of(hint) is not None
        self.accepts = _checker(hint)

    def refuse(self, value: object) -> typing.NoReturn:
        """Report that the value is of another type.

        Raises:
            ContractMismatch: Always.
        """
        raise ContractMismatch(
            f"the channel carries {self.text}; found {_describe_value(value)}: {brief(value)}"
        )


class Shape:
    """The shape of the arrays that a channel carries: `Annotated[NDArray[np.float64], Shape(480, 640)]`.

    Args:
        sizes: The size of each dimension; None accepts any size.
    """

    def __init__(self, *sizes: int | None) -> None:
        for size in sizes:
            if size is not None and (not isinstance(size, int) or size < 0):
                raise UsageError(f"a shape is made of sizes from 0 and None; found {brief(size)}")
        self.sizes = sizes

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape matches."""
        return len(shape) == len(self.sizes) and all(
            mine is None or mine == found for mine, found in zip(self.sizes, shape)
        )

    def __repr__(self) -> str:
        return f"Shape({', '.join(map(str, self.sizes))})"


def fits(one: str, other: str) -> bool:
    """Whether the contracts of two ends, given as text, are compatible."""
    return one == other or "Any" in (one, other)


def describe(hint: object) -> str:
    """Return a type hint as text, the same for the same type in any process.

    >>> describe(int), describe(typing.Optional[int]), describe(list[int])
    ('int', 'int | None', 'list[int]')
    """
    hint = _expanded(hint)
    if hint is typing.Any:
        return "Any"
    if hint is None or hint is type(None):
        return "None"
    array = _array_of(hint)
    if array is not None:
        dtype, shape = array
        return f"NDArray[{dtype}]" if shape is None else f"NDArray[{dtype}] of {shape}"
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


def _expanded(hint: typing.Any) -> typing.Any:
    """The type that a `type` alias stands for (PEP 695). numpy's NDArray is such an alias from 2.5 on."""
    while hasattr(alias := typing.get_origin(hint) or hint, "__value__"):
        arguments = typing.get_args(hint)
        hint = alias.__value__[arguments] if arguments else alias.__value__
    return hint


def _checker(hint: object) -> Callable[[object], bool]:
    hint = _expanded(hint)
    if hint is typing.Any:
        return lambda value: True
    if hint is None:
        return lambda value: value is None
    array = _array_of(hint)
    if array is not None:
        return _array_checker(*array)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        checkers = [_checker(item) for item in arguments]
        return lambda value: any(accepts(value) for accepts in checkers)
    if origin is typing.Literal:
        return lambda value: value in arguments
    if isinstance(hint, type) and origin is None:
        if hint in _NUMERIC_TOWER:
            kinds = _NUMERIC_TOWER[hint]
            return lambda value: isinstance(value, kinds)
        name = (hint.__module__, hint.__qualname__)
        # A class of __main__ exists once in each process: the name decides, as for pickle.
        if hint.__module__ == "__main__":
            return lambda value: any((c.__module__, c.__qualname__) == name for c in type(value).__mro__)
        return lambda value: isinstance(value, hint)
    return _Deep(hint)


class _Deep:
    """A check by beartype, imported at the first value because the import takes 80 ms."""

    def __init__(self, hint: typing.Any) -> None:
        self._hint = hint
        self._conf: typing.Any = None

    def __call__(self, value: object) -> bool:
        from beartype import BeartypeConf, door, roar

        if self._conf is None:
            self._conf = BeartypeConf(is_pep484_tower=True)
        try:
            return bool(door.is_bearable(value, self._hint, conf=self._conf))
        except roar.BeartypeException:
            return True  # beartype does not support the hint, so nothing is checked


def _array_checker(dtype: str, shape: Shape | None) -> Callable[[typing.Any], bool]:
    known = set()  # dtypes already found to match: naming one takes 10 us

    def accepts(value: typing.Any) -> bool:
        found = getattr(value, "dtype", None)
        if found is None or not hasattr(value, "__array__"):
            return False
        if found not in known:
            if dtype not in ("Any", str(found)):
                return False
            known.add(found)
        return shape is None or shape.fits(value.shape)

    return accepts


def _array_of(hint: object) -> tuple[str, Shape | None] | None:
    """The name of the dtype and the shape if the hint is a numpy array type, else None."""
    shape, hint = None, _expanded(hint)
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        hint = _expanded(hint)
        shape = next((note for note in notes if isinstance(note, Shape)), None)
    dtype = _array_dtype(hint)
    return None if dtype is None else (dtype, shape)


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
