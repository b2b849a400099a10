"""Restarts a script under cmpirun, if this process is a script that can be restarted."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING, NoReturn

from cmpi._runtime import programs
from cmpi.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection


def can_restart() -> bool:
    """Whether this process is a plain script, which can be restarted.

    Raises:
        UsageError: multiprocessing has started this process, so it must not have a job of its own.
    """
    if "multiprocessing.spawn" in sys.modules and "--multiprocessing-fork" in sys.orig_argv:
        raise UsageError(
            "init() was called in a process started by multiprocessing. Call it in the main script, under "
            "`if __name__ == '__main__':`, or start that script with `cmpirun python SCRIPT`."
        )
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive) or sys.argv[:1] in ([], [""], ["-"])
    # If stdout or stderr are replaced, the output is captured, which a restart would lose.
    captured = sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__
    return not interactive and not captured and is_script(main, sys.modules.keys())


def is_script(main: str, modules: Collection[str]) -> bool:
    """Whether a process is a plain script of the user, not a kernel, test run, server or other tool.

    Args:
        main: The file of `__main__`.
        modules: The names of the loaded modules.
    """
    if {"ipykernel", "IPython"} <= {*modules} or {"_pytest.runner", "pytest"} <= {*modules}:
        return False
    if not main:
        return "IPython" not in modules  # python -c
    folder = os.path.dirname(os.path.abspath(main))
    libraries = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    return folder != sysconfig.get_path("scripts") and not folder.startswith(
        tuple(f"{library}/" for library in libraries)
    )


def restart() -> NoReturn:
    """Become `cmpirun python SCRIPT ARGS...`.

    Raises:
        LaunchError: cmpirun cannot be started.
    """
    cmpirun = [sys.executable, *programs.isolated(programs.CMPIRUN)]
    command = [*cmpirun, "--", sys.executable, *sys.orig_argv[1:]]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise LaunchError(f"cannot start cmpirun: {error}") from None
