"""Runs those parts of Python's shutdown that programs can see, for processes that must not or need not do
all of it.

A rank that failed skips MPI_Finalize. A spawned process skips the interpreter's own teardown, which takes
15 ms with numpy and frees what the kernel frees anyway. Everything that a program can see happens here:
threads are joined, exit handlers run, the program's modules drop their objects, so that finalizers run, and
files are closed.

Source: `Py_FinalizeEx` and `finalize_modules` in `Python/pylifecycle.c` of CPython 3.10 to 3.14.
"""

from __future__ import annotations

import atexit
import gc
import io
import itertools
import os
import sys
import sysconfig
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


# The classes in C from which all files inherit. To ask the abstract ones would fill their caches, a page
# fault for each class of any object.
_FILES: Any = (io.TextIOBase.__base__, io.BufferedIOBase.__base__)
_is_fork = False
_preloaded: list[str] = []  # the program's modules that this process has from the fork server


def prepare_forks() -> None:
    """Call this in the fork server before it forks. At their end, forks then look only at modules imported
    since, and at those of the program among the present ones: to look at all, some 400, takes a fork 340
    page faults, because each counts a reference."""
    global _is_fork, _preloaded
    _is_fork, _preloaded = True, [name for name, module in sys.modules.items() if _is_of_program(module)]
    sys.modules[__name__] = sys.modules.pop(__name__)  # now the last: later ones follow it


def run_exit_handlers() -> None:
    """Do all of that. Blocks: for threads that are not daemons, and for whatever exit handlers wait for."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    atexit._clear()
    flush_standard_streams()
    # First of all: the collector may finalize a file before the one that writes to it.
    _each_file(lambda file: file.flush())
    _let_go()
    _each_file(lambda file: file.close())
    flush_standard_streams()


def flush_standard_streams() -> None:
    """Flush stdout and stderr, and whatever the program has put in their places."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue  # None, not a file, closed or detached; or the disk is full, and the buffer is lost


def _let_go() -> None:
    """Drop the program's modules, first as wholes, then the contents of those that are still referenced, so
    that finalizers run as at the end of Python."""
    # The collector does not see what the fork server has imported, so these are not collected as wholes.
    shared = [sys.modules.pop(name) for name in reversed(_preloaded) if name in sys.modules]
    names = list(reversed(sys.modules))
    if _is_fork:
        names = list(itertools.takewhile(lambda name: name != __name__, names))
    names = ["__main__", *(name for name in names if _is_of_program(sys.modules[name]))]
    left = [weakref.ref(sys.modules.pop(name)) for name in names if name in sys.modules]
    gc.collect()
    alive = [module for module in (reference() for reference in left) if module is not None]
    for module in (*alive, *shared):
        for private in (True, False):  # in CPython's order
            for name in [name for name in vars(module) if name.startswith("_") is private]:
                if name not in ("__builtins__", "__name__"):
                    vars(module)[name] = None
    gc.collect()


_CMPI = os.path.abspath(__file__).rsplit("/", 3)[0]
_LIBRARIES = tuple(
    f"{as_named}/"
    for path in {_CMPI, *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))}
    if path
    for as_named in {path, os.path.realpath(path)}
)


def _is_of_program(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not file.startswith(_LIBRARIES)


def _each_file(do: Callable[[Any], None]) -> None:
    """Call `do` for each file that is open for writing: first files that write to others, such as text and
    compressed files, then the ones under them."""
    streams = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    standard = {id(it) for stream in streams for it in (stream, getattr(stream, "buffer", None))}
    objects = gc.get_objects()
    kinds = {kind for kind in {*map(type, objects)} if issubclass(kind, _FILES)}
    files = [it for it in objects if type(it) in kinds]
    under = (io.BufferedWriter, io.BufferedRandom)
    files.sort(key=lambda file: 2 if isinstance(file, under) else not isinstance(file, io.TextIOBase))
    for file in files:
        if id(file) not in standard and not isinstance(file, (io.StringIO, io.BytesIO, io.BufferedReader)):
            try:
                do(file)
            except Exception:
                continue  # closed or detached; or the disk is full: Python reports nothing either
