"""`FunctionCall`: a function with arguments for another process, which `spawn` sends; it is checked before
sending."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from cmpi._base.brief import brief
from cmpi._transport import pickling
from cmpi.errors import NotPicklable, UsageError, WrongArguments

_GENERATOR = "is a generator function: calling it runs nothing of it. Loop over it in a function, and {do}"


class FunctionCall:
    """A function and its arguments, to be sent to another process.

    Args:
        f: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        first: A name and a description of the argument that the other process adds in front. None: none.
        result: Whether the return value is wanted.
    """

    def __init__(
        self,
        f: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        first: tuple[str, str] | None = ("parent", "the Pid of the process that spawned it"),
        result: bool = False,
        do: str = "spawn",
    ) -> None:
        if not callable(f):
            raise UsageError(
                f"{do} takes a function and its arguments; found {type(f).__name__}: {brief(f)}"
            )
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise UsageError(f"kwargs must be a dictionary of keyword arguments; found {brief(kwargs)}")
        self.f, self.args, self.kwargs, self.result = f, args, dict(kwargs or {}), result
        code = _function_in(f)
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise UsageError(f"{name_of(f)} {_GENERATOR.format(do=f'{do} that')}")
        self._check_arguments(first, do)

    def _check_arguments(self, first: tuple[str, str] | None, do: str) -> None:
        try:
            signature = inspect.signature(self.f)
        except (TypeError, ValueError):
            return  # a function written in C: only the call itself can tell
        try:
            signature.bind(*([None] if first else []), *self.args, **self.kwargs)
        except TypeError as error:
            name = name_of(self.f)
            given = [first[0]] if first else []
            given += map(brief, self.args)
            given += [f"{key}={brief(value)}" for key, value in self.kwargs.items()]
            hint = f" The first argument is {first[1]}: def {name}({first[0]}, ...)." if first else ""
            text = (
                f"{do} calls {name}({', '.join(given)}), which {name}{signature} does not accept: {error}."
            )
            raise WrongArguments(text + hint) from None

    def pickled(self) -> pickling.Message:
        """Pickle the call.

        Raises:
            NotPicklable: Part of it cannot be pickled; the message shows the path to that part.
        """
        try:
            return pickling.dumps((self.f, self.args, self.kwargs, self.result))
        except NotPicklable as error:
            fault = error
        pickling.dumps(self.f, "f")
        for i, argument in enumerate(self.args):
            pickling.dumps(argument, f"argument {i}")
        for key, argument in self.kwargs.items():
            pickling.dumps(argument, f"argument {key!r}")
        raise fault


def make(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make a call in the process that it was sent to; returns f's value.

    Raises: What f raises; UsageError if f returned a generator, whose code has not run.
    """
    value = f(*args, **kwargs)
    if isinstance(value, CoroutineType):
        import asyncio

        return asyncio.run(value)
    if isinstance(value, (GeneratorType, AsyncGeneratorType)):
        raise UsageError(f"{name_of(f)} returned a generator, whose code has not run: loop over it inside")
    return value


def name_of(f: Callable[..., object]) -> str:
    """The name of a function for people."""
    function = getattr(f, "func", f)  # for a functools.partial
    return getattr(function, "__qualname__", type(f).__qualname__)


def _function_in(f: Any) -> Any:
    """The function that runs when f is called."""
    while isinstance(f, functools.partial):
        f = f.func
    return f if inspect.isroutine(f) or inspect.isclass(f) else type(f).__call__
