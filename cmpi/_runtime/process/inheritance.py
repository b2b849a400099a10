"""Interpreter flags and resource limits, which a spawned process inherits besides its environment.

They are inherited as by fork and exec, however the process is started.
"""

from __future__ import annotations

import functools
import os
import resource
import sys
import time

from cmpi._core.job.interpreter import Interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Read only when a process starts (by the dynamic linker, the C library or Python).
FROM_THE_START = (
    "GLIBC_TUNABLES", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX",
    "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONUNBUFFERED", "PYTHONUTF8",
)  # fmt: skip
# Fields of `sys.flags` that come from the environment, from -X, or from the build.
NO_FLAGS = ("gil", "hash_randomization", "int_max_str_digits", "utf8_mode")
LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


def interpreter() -> Interpreter:
    """How a process spawned by this one is to be started."""
    settings = [f"{name}={os.environ[name]}" if name in os.environ else name for name in FROM_THE_START]
    return Interpreter(sys.executable, flags(), settings)


@functools.cache
def flags() -> list[str]:
    """The flags that this interpreter was given: -O, -W, -X and the like.

    The fork server asks before it forks, and no process has to import `subprocess` for this.
    """
    unbuffered = ["-u"] if getattr(sys.__stdout__, "write_through", False) else []
    fields = (getattr(sys.flags, name) for name in sys.flags.__match_args__ if name not in NO_FLAGS)
    if not (any(fields) or sys.warnoptions or sys._xoptions):
        return unbuffered  # to import `subprocess` takes 5 of the 60 ms that cmpirun --in computes

    import subprocess

    # multiprocessing does the same, but knows only some of the options that follow an -X.
    given = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    options = [name if value is True else f"{name}={value}" for name, value in sys._xoptions.items()]
    flags = given[: given.index("-X")] if "-X" in given else given
    return [*flags, *unbuffered, *(f"-X{option}" for option in options)]


def limits() -> list[tuple[int, int, int]]:
    """The resource limits of this process: number, soft and hard."""
    return [(number, *resource.getrlimit(number)) for number in LIMITS]


def take_over_limits(inherited: Iterable[tuple[int, int, int]]) -> None:
    """Apply the limits that differ, as far as the kernel allows."""
    for number, soft, hard in inherited:
        if resource.getrlimit(number) != (soft, hard):
            try:
                resource.setrlimit(number, (soft, hard))
            except (OSError, ValueError):
                pass  # above this process's hard limit


def working_folder() -> str:
    """The working folder; if it was removed, a path that still leads to it on this host."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return f"/proc/{os.getpid()}/cwd"


def take_over_time_zone(before: str | None) -> None:
    """Have the C library read TZ again, if it has changed."""
    if os.environ.get("TZ") != before:
        time.tzset()
