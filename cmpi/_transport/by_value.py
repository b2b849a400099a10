"""Pickles functions and classes of a script: by name for a process that runs the script, else by value.

Pickling by value is based on cloudpickle, with these differences: each definition becomes only one object
in a process (see `scripts`); functions of one script share a namespace; code keeps its file name;
`__slots__`, qualified names, attributes of enum members and types named in annotations are preserved; and
caches, such as those of `functools.lru_cache`, arrive empty instead of raising.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
import weakref
from collections import ChainMap

import cloudpickle

from cmpi._transport import foreign, scripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._transport.scripts import Namespace, Tag

_NAMELESS = "<dynamic-code>"  # what cloudpickle 3.1 writes in place of a file's name
_WORD = re.compile(r"[^\W\d]\w*")
_CACHED = type(functools.lru_cache(lambda: None))

_unfinished: set[int] = set()  # ids of objects that are being loaded, in any thread


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles values that hold functions and classes of a script.

    Args:
        by_name: Whether the receiver is a home of this process's script.
    """

    dispatch_table: Any

    def __init__(self, file: Any, buffer_callback: Any = None, by_name: bool = False) -> None:
        super().__init__(file, 5, buffer_callback=buffer_callback)
        self._by_name = by_name
        scripts.own().forget_rebound()

    def reducer_override(self, value: Any) -> Any:
        """Return the reduction of `value`; NotImplemented: pickle it in the normal way."""
        kind = type(value)
        if kind.__name__ == "ndarray" and kind.__module__ == "numpy":
            from cmpi._transport import arrays

            return NotImplemented if value.flags.writeable else arrays.reduce_as_writable(value)
        if not (kind is types.FunctionType or kind in (_CACHED, typing.NewType) or issubclass(kind, type)):
            return NotImplemented
        if self._by_name:
            name = scripts.by_name(value)
            if name is not None:
                return name  # pickle looks it up in __main__ on both sides
        if kind is types.FunctionType:
            return self._reduce_function(value)
        if issubclass(kind, type):
            return self._reduce_class(value)
        if value.__module__ != scripts.MAIN:
            return NotImplemented
        if kind is _CACHED:
            made: Any = _cached, (value.__wrapped__, value.cache_parameters())
        else:
            made = _new_type, (value.__name__, value.__supertype__)
        return _make_once, (scripts.tag_of(value), *made, True)

    def _reduce_function(self, function: types.FunctionType) -> Any:
        reduced = super().reducer_override(function)
        where = scripts.namespace_of(function.__globals__)
        if not isinstance(reduced, tuple) or where is None:
            return reduced
        (code, _, _, _, cells), (attributes, slots) = reduced[1:3]
        variables = slots.pop("__globals__") | _named_in(function.__annotations__, function.__globals__)
        bindings = _bindings(scripts.own() if where[0] else scripts.script(where[1]), variables)
        state = attributes, slots, slots.pop("__closure__"), where, bindings
        make = _make_once, (scripts.tag_of(function), _function, (code, where, cells))
        return *make, state, None, None, _finish_function

    def _reduce_class(self, cls: Any) -> Any:
        reduced = super().reducer_override(cls)
        if not isinstance(reduced, tuple) or len(reduced) != 6:
            return reduced  # importable, or built in
        make, arguments, state, _, _, finish = reduced
        attributes, members = state[0], {}
        if issubclass(cls, enum.Enum):
            aliases = {name: member.value for name, member in cls.__members__.items()}
            arguments = *arguments[:3], aliases, arguments[4], None, None
            for name in aliases:
                attributes.pop(name, None)
            members = {name: _own_attributes(member) for name, member in cls.__members__.items()}
        else:
            meta, name, bases, keywords, _, _ = arguments
            if typing.NamedTuple in bases:  # it would turn later attributes into fields
                bases = cls.__bases__
            keywords = {**keywords, "__qualname__": cls.__qualname__, **_slots(cls, attributes)}
            arguments = meta, name, bases, keywords, None, None
        tag = scripts.tag_of(cls) or scripts.anonymous_tag(cls)
        script = scripts.own() if tag[0] == scripts.NO_SCRIPT else scripts.script(tag[0])
        bindings = []
        if cls.__module__ == scripts.MAIN:
            named = _named_in(vars(cls).get("__annotations__", {}), script.module.__dict__)
            bindings = _bindings(script, named)
        state = finish, state, members, (False, script.name), bindings
        return _make_once, (tag, make, arguments), state, None, None, _finish_class


def _bindings(script: scripts.Script, variables: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, script.token(name, value), value) for name, value in variables.items()]


def _named_in(annotations: Any, variables: dict[str, Any]) -> dict[str, Any]:
    """The types that string annotations refer to: `typing.get_type_hints` will look for them."""
    words = {word for text in annotations.values() if isinstance(text, str) for word in _WORD.findall(text)}
    return {word: variables[word] for word in sorted(words & variables.keys()) if _is_type(variables[word])}


def _is_type(value: object) -> bool:
    return isinstance(value, (type, types.ModuleType)) or type(value).__module__ == "typing"


def _slots(cls: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The `__slots__` to make the class with, if it has any; their descriptors are made with it."""
    if "__slots__" not in cls.__dict__:
        return {}
    names = [n for n, v in cls.__dict__.items() if isinstance(v, types.MemberDescriptorType)]
    for name in names:
        attributes.pop(name, None)
    names += [name for name in ("__dict__", "__weakref__") if name in cls.__dict__]
    return {"__slots__": tuple(names)}


def _own_attributes(member: Any) -> dict[str, Any]:
    """The attributes that an enum's `__init__` or `__new__` gave to this member."""
    return {n: v for n, v in vars(member).items() if not (n.startswith("_") and n.endswith("_"))}


# -- in the process that loads -----------------------------------------------------------------------


def _make_once(tag: Tag | None, make: Any, arguments: tuple[Any, ...], finished: bool = False) -> Any:
    """Return the object with this tag; unless it exists already, create it here, to be completed by its
    state."""
    made = None if tag is None else scripts.resolve(tag)
    if made is not None:
        return made
    made = make(*arguments)
    if tag is None:
        if not finished:
            _unfinished.add(id(made))
        return made
    with scripts.lock:
        found = scripts.remember(tag, made)[0]
        if found is made and not finished:
            _unfinished.add(id(made))
        if found is made and tag[0] != scripts.NO_SCRIPT and "." not in tag[1]:
            scripts.script(tag[0]).bind(tag[1], tag, made)
    return found


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _new_type(name: str, supertype: Any) -> Any:
    make: Any = typing.NewType
    made = make(name, supertype)
    made.__module__ = scripts.MAIN
    return made


def _function(code: types.CodeType, where: Namespace, cells: tuple[types.CellType, ...] | None) -> Any:
    return types.FunctionType(code, scripts.namespace(where), None, None, cells)


def _finish_function(function: types.FunctionType, state: Any) -> None:
    attributes, slots, closure, where, bindings = state
    _bind(where, bindings)
    if id(function) not in _unfinished:
        return  # the object already existed
    function.__dict__.update(attributes)
    for name, value in slots.items():
        if name != "_cloudpickle_submodules":  # that variable only imported modules
            setattr(function, name, value)
    for mine, cell in zip(function.__closure__ or (), closure or ()):
        try:
            mine.cell_contents = cell.cell_contents
        except ValueError:
            continue  # not yet assigned
    _unfinished.discard(id(function))


def _finish_class(cls: Any, state: Any) -> None:
    finish, state, members, where, bindings = state
    _bind(where, bindings)
    if id(cls) not in _unfinished:
        return
    finish(cls, state)
    for name, attributes in members.items():
        vars(cls.__members__[name]).update(attributes)
    _unfinished.discard(id(cls))


def _bind(where: Namespace, bindings: list[tuple[str, Any, Any]]) -> None:
    script = scripts.stands_for(where)
    if script is not None:
        for name, token, value in bindings:
            script.bind(name, token, value)


# -- what neither pickle nor cloudpickle can do ------------------------------------------------------


def _reduce_code(code: types.CodeType) -> Any:
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if each == _NAMELESS else each for each in arguments)


def _reduce_cached_property(value: functools.cached_property[Any]) -> Any:
    return _cached_property, (value.func, value.attrname)  # without the lock that it has before Python 3.12


def _cached_property(function: Any, name: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname = name
    return made


Pickler.dispatch_table = ChainMap(
    foreign.reducers,
    {
        types.CodeType: _reduce_code,
        functools.cached_property: _reduce_cached_property,
        weakref.WeakKeyDictionary: lambda value: (weakref.WeakKeyDictionary, (dict(value),)),
        weakref.WeakValueDictionary: lambda value: (weakref.WeakValueDictionary, (dict(value),)),
        type(dataclasses.MISSING): lambda _: "MISSING",
    },
    cloudpickle.Pickler.dispatch_table,
)
