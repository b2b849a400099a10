"""The scripts whose definitions this process holds, and the names by which they are known.

A process that runs a script itself (a rank) is a *home* of the script: its `__main__` is the original. A
spawned process gets a `__main__` of its own, created here, in which everything that arrives by value from
the script is bound once. Each class and function of a script has a *tag*: the script, its qualified name,
and a version, which counts how often the script has bound the name to another object. A known tag resolves
to the existing object, however often and in whatever way the definition arrives.

Values of a script's globals are sent with the functions that use them. A home keeps its own values. A
spawned process stores a value if it has none of that name, or if the sender has bound the name to
another object since it last sent it. What a function here assigned with `global` therefore stays.

Source: none; cloudpickle identifies classes by random numbers, and gives each function that it loads its
own globals.
"""

from __future__ import annotations

import atexit
import builtins
import importlib
import os
import sys
import threading
import types
import weakref
from importlib.machinery import ModuleSpec

import cloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    Tag: TypeAlias = tuple[str, str, int]  # script, qualified name, version
    Namespace: TypeAlias = tuple[bool, str]  # whether it is a module to import; its name, or the script's

MAIN = "__main__"
NO_SCRIPT = ""
_SCALARS = (int, float, complex, bool, str, bytes, type(None))
_MOST_SCALAR = 100  # characters or bytes of a value that is its own token

lock = threading.RLock()
_objects: weakref.WeakValueDictionary[Tag, Any] = weakref.WeakValueDictionary()
_tags: dict[int, tuple[weakref.ref[Any], Tag]] = {}  # by the object's id: it may not be hashable


class Script:
    """One script, as this process knows it.

    Args:
        name: The script's name, unique in the job.
        module: The module in which its definitions are bound. None: `__main__`, which must not be kept
            alive by anything else, so that its objects are freed at the end of the process.
        homes: Pids of the processes that run the script itself.
        is_home: Whether this process is one of them.
    """

    def __init__(
        self,
        name: str,
        module: types.ModuleType | None = None,
        homes: Iterable[int] = (),
        is_home: bool = False,
    ) -> None:
        self.name, self._module, self.homes, self.is_home = name, module, frozenset(homes), is_home
        self._versions: dict[str, int] = {}  # by qualified name: of the next object
        self._arrived: dict[str, Any] = {}  # by global name: the token of the value that arrived last
        self._known: dict[str, tuple[Any, Any]] = {}  # by global name: a token, and the value it stands for

    @property
    def module(self) -> types.ModuleType:
        """The module that the definitions are bound in."""
        return self._module or sys.modules.get(MAIN) or _new_main()

    def lookup(self, qualname: str) -> Any:
        """The module's object of this name; None if there is none."""
        found: Any = self.module
        for part in qualname.split("."):
            found = getattr(found, part, None)
        return found

    def next_version(self, qualname: str) -> int:
        """A version for an object that is not tagged yet, and that the module has under this name."""
        version = self._versions.get(qualname, 0)
        self._versions[qualname] = version + 1
        return version

    def token(self, name: str, value: Any) -> Any:
        """A token by which the receiver can tell whether it already has this value of a global."""
        if type(value) in _SCALARS and _is_small(value):
            return type(value).__name__, value
        if isinstance(value, types.ModuleType):
            return "module", value.__name__
        tag = tag_of(value)
        if tag is not None:
            return tag
        with lock:  # two threads that send the same value must get the same token
            known = self._known.get(name)
            if known is None or known[1] is not value:
                known = self._known[name] = ((process_token(), _next_serial()), value)
            return known[0]

    def bind(self, name: str, token: Any, value: Any) -> None:
        """Store the value of a global, unless this process keeps its own: see the module's docstring."""
        namespace = self.module.__dict__
        if self.is_home or name.startswith("__"):
            namespace.setdefault(name, value)
        elif name not in namespace or self._arrived.get(name) != token:
            namespace[name] = value
            self._arrived[name] = token
            self._known[name] = token, value

    def forget_rebound(self) -> None:
        """Drop the values whose names are bound to other objects now."""
        namespace = self.module.__dict__
        for name in [n for n, (_, value) in list(self._known.items()) if namespace.get(n) is not value]:
            del self._known[name]

    def let_go(self) -> None:
        """Drop all values, at the end of the process."""
        self._known.clear()


def _is_small(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() < _MOST_SCALAR
    return not isinstance(value, (str, bytes)) or len(value) < _MOST_SCALAR


_NAMELESS = "?"  # until the job names it
_own = Script(_NAMELESS, is_home=True)
_others: dict[str, Script] = {}


def own() -> Script:
    """The script of this process's `__main__`."""
    return _own


def script(name: str) -> Script:
    """The script of this name."""
    if name == _own.name:
        return _own
    with lock:
        return _others.setdefault(name, Script(name, _new_main()))


def _new_main() -> types.ModuleType:
    main = types.ModuleType(MAIN)
    vars(main)["__builtins__"] = builtins  # where C code looks for `__import__`
    return main


def identify(name: str, homes: Iterable[int]) -> None:
    """Make this process a home of the script that other processes know by this name."""
    _own.name, _own.homes = name, frozenset(homes)


def name_own(pids: Iterable[int] = ()) -> None:
    """Name the script of this process, which is not a rank of a job; `pids` are the process's if it is a
    guest."""
    identify(f"of {process_token()}" if _own.name == _NAMELESS else _own.name, pids)


def describe() -> dict[str, Any]:
    """The arguments for `adopt` in a process that this one spawns."""
    main = _own.module
    spec = getattr(main, "__spec__", None)
    return {
        "name": _own.name,
        "homes": sorted(_own.homes),
        "file": getattr(main, "__file__", None),
        "package": getattr(main, "__package__", None),
        "spec": None if spec is None else spec.name,
    }


def adopt(description: dict[str, Any]) -> None:
    """Give this process, which runs a function of another process's script, a `__main__` for that
    script."""
    global _own
    main = _new_main()
    if description["file"] is not None:
        main.__file__ = description["file"]
    main.__package__ = description["package"]
    if description["spec"] is not None:
        main.__spec__ = ModuleSpec(description["spec"], None, origin=description["file"])
    sys.modules[MAIN] = main
    _own = Script(description["name"], None, description["homes"])


def is_home(pid: int) -> bool:
    """Whether that process runs the script of this process's `__main__`, so that sending names is
    enough."""
    return pid in _own.homes


@atexit.register
def _let_go() -> None:
    for each in (_own, *_others.values()):
        each.let_go()


# -- tags ------------------------------------------------------------------------------------------


def tag_of(value: Any) -> Tag | None:
    """The tag of a class or function of a script. None: it has no tag, because the script has not bound it
    to its qualified name, and it did not arrive from another process."""
    tag = _known_tag(value)
    if tag is not None:
        return tag
    qualname = getattr(value, "__qualname__", None)
    if not _own.is_home or getattr(value, "__module__", None) != MAIN or not isinstance(qualname, str):
        return None
    if _own.lookup(qualname) is not value:
        return None
    with lock:  # another thread may have just given it one
        return _known_tag(value) or remember((_own.name, qualname, _own.next_version(qualname)), value)[1]


def _known_tag(value: Any) -> Tag | None:
    found = _tags.get(id(value))
    return found[1] if found is not None and found[0]() is value else None


def anonymous_tag(cls: type) -> Tag:
    """The tag of a class that no script has under its qualified name."""
    with lock:
        tag = NO_SCRIPT, process_token() + cls.__qualname__, _next_serial()
        return tag_of(cls) or remember(tag, cls)[1]


def resolve(tag: Tag) -> Any:
    """The object of this tag, if it is here; else None."""
    found = _objects.get(tag)
    if found is None and tag[0] == _own.name and _own.is_home and tag[2] == 0:
        with lock:
            found = _own.lookup(tag[1])
            if found is not None and tag_of(found) != tag:
                found = None
    return found


def remember(tag: Tag, value: Any) -> tuple[Any, Tag]:
    """Give a tag to an object, unless an object has that tag already; return the object that has it, and
    the tag."""
    with lock:
        value = _objects.setdefault(tag, value)
        key = id(value)
        if key not in _tags or _tags[key][0]() is not value:

            def finalized(reference: weakref.ref[Any]) -> None:
                found = _tags.get(key)
                if found is not None and found[0] is reference:
                    del _tags[key]

            _tags[key] = weakref.ref(value, finalized), tag
    return value, tag


def by_name(value: Any) -> str | None:
    """The qualified name by which a home of this process's script knows an object; None if it does not."""
    tag = tag_of(value)
    return tag[1] if tag is not None and tag[0] == _own.name and _own.lookup(tag[1]) is value else None


# -- namespaces --------------------------------------------------------------------------------------


def namespace_of(variables: dict[str, Any]) -> Namespace | None:
    """A description of where another process finds the globals of a function; None: nowhere."""
    for each in (_own, *_others.values()):
        if each.module.__dict__ is variables:
            return False, each.name
    name = variables.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or module.__dict__ is not variables or name == MAIN:
        return None
    by_value = cloudpickle.list_registry_pickle_by_value()
    return None if any(f"{name}.".startswith(f"{each}.") for each in by_value) else (True, module.__name__)


def namespace(where: Namespace) -> dict[str, Any]:
    """The globals in this process for a description that `namespace_of` made in another process."""
    stand_in = stands_for(where)
    return importlib.import_module(where[1]).__dict__ if stand_in is None else stand_in.module.__dict__


def stands_for(where: Namespace) -> Script | None:
    """The script that holds these globals; None for a module, unless it cannot be imported here."""
    is_module, name = where
    if not is_module:
        return script(name)
    try:
        importlib.import_module(name)
    except ImportError:
        return script(f"module {name}")
    return None


_process = (0, "")
_serial = 0


def process_token() -> str:
    """An identity of this process, for values that it created from what others sent."""
    global _process
    if _process[0] != os.getpid():
        with lock:
            if _process[0] != os.getpid():
                _process = os.getpid(), os.urandom(8).hex()
    return _process[1]


def _next_serial() -> int:
    global _serial
    with lock:
        _serial += 1
        return _serial
