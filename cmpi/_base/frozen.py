"""Frozen value classes without the cost of importing `dataclasses`.

Every monitor and the root import the frame classes before they do anything useful, and `dataclasses` (with
`inspect`, `re` and `typing` behind it) costs 12 ms there, more than the interpreter itself. That time would
delay each launch, so this module replaces it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from typing_extensions import dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def frozen(cls: type[T]) -> type[T]: ...

else:

    def frozen(cls):
        """Make `cls` a frozen value of its annotated fields; class attributes are defaults. It may define
        its own `__repr__`."""
        names = tuple(name for name in cls.__annotations__ if not name.isupper())
        defaults = {name: getattr(cls, name) for name in names if hasattr(cls, name)}

        def __init__(self, *args, **kwargs):
            values = dict(zip(names, args))
            if len(args) > len(names) or values.keys() & kwargs.keys():
                raise TypeError(f"{cls.__name__} takes {', '.join(names)}")
            values.update(kwargs)
            for name in names:
                if name not in values:
                    if name not in defaults:
                        raise TypeError(f"{cls.__name__} lacks {name!r}")
                    values[name] = defaults[name]
            if len(values) != len(names):
                raise TypeError(f"{cls.__name__} takes {', '.join(names)}")
            self.__dict__.update(values)

        def __repr__(self):
            inside = ", ".join(f"{name}={self.__dict__[name]!r}" for name in names)
            return f"{cls.__name__}({inside})"

        def __eq__(self, other):
            return self.__dict__ == other.__dict__ if type(other) is cls else NotImplemented

        def __hash__(self):
            return hash((cls, tuple(self.__dict__[name] for name in names)))

        def __setattr__(self, name, value):
            raise AttributeError(f"{cls.__name__} is frozen: cannot set {name!r}")

        for method in (__init__, __repr__, __eq__, __hash__, __setattr__):
            if method is not __repr__ or "__repr__" not in cls.__dict__:
                setattr(cls, method.__name__, method)
        cls.__match_args__ = names
        return cls


def replace(value: Any, **changes: Any) -> Any:
    """Return a copy of a record with some fields changed."""
    return type(value)(**{**value.__dict__, **changes})
