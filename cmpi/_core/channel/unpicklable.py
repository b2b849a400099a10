"""Finds the part of an object that cannot be pickled, and describes it by a readable path."""

from __future__ import annotations

import itertools
import types

from cmpi._base.brief import brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_STEPS = 12
MOST_REASON = 300  # characters
MOST_PARTS = 1000  # of one container; beyond that the path ends there


def path_to_unpicklable(name: str, thing: object, fault: Callable[[object], str | None]) -> str:
    """A path such as `f -> closure 'cfg' -> attribute 'lock': cannot pickle '_thread.lock' object`.

    Args:
        name: What the caller calls the object.
        thing: An object that cannot be pickled.
        fault: Tries to pickle an object; returns the reason for the failure, or None. May be slow.

    Blocks: for the time of at most `MOST_STEPS * MOST_PARTS` trials.
    Source: none; cloudpickle and pickle name the type, but not its place.
    """
    steps = [name]
    seen = {id(thing)}
    reason = fault(thing) or "cannot be pickled"
    for _ in range(MOST_STEPS):
        for label, part in _parts(thing):
            if id(part) in seen:
                continue
            why = fault(part)
            if why is not None:
                seen.add(id(part))
                steps.append(label)
                thing, reason = part, why
                break
        else:
            break
    if len(reason) > MOST_REASON:
        reason = f"{reason[: MOST_REASON - 3]}..."
    return f"{' -> '.join(steps)}: {reason}"


def _parts(thing: object) -> Iterator[tuple[str, object]]:
    yield from itertools.islice(_all_parts(thing), MOST_PARTS)


def _all_parts(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, types.MethodType):
        yield f"object of method {thing.__name__!r}", thing.__self__
        yield "function", thing.__func__
    elif isinstance(thing, types.FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield f"key {brief(key)}", key
            yield f"item {brief(key)}", value
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for i, value in enumerate(thing):
            yield f"item {i}", value
    elif isinstance(thing, type):
        for name, value in vars(thing).items():
            yield f"class attribute {name!r}", value
    elif type(thing).__reduce__ is object.__reduce__ or hasattr(thing, "func"):
        # (An object with its own __reduce__ decides for itself how to be pickled, and its error says why it
        # cannot.)
        func = getattr(thing, "func", None)  # functools.partial and its look-alikes
        if func is not None and hasattr(thing, "args"):
            yield "function", func
            for i, value in enumerate(getattr(thing, "args", ())):
                yield f"argument {i}", value
            for name, value in getattr(thing, "keywords", {}).items():
                yield f"argument {name!r}", value
        for name, value in getattr(thing, "__dict__", {}).items():
            yield f"attribute {name!r}", value
        for name in getattr(type(thing), "__slots__", ()):
            if hasattr(thing, name):
                yield f"attribute {name!r}", getattr(thing, name)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield f"closure {name!r}", cell.cell_contents
        except ValueError:
            continue  # not yet assigned
    for i, value in enumerate(function.__defaults__ or ()):
        yield f"default {i}", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f"default {name!r}", value
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f"global {name!r}", function.__globals__[name]
    for name, value in vars(function).items():
        yield f"attribute {name!r}", value
