"""Starting a script again under cmpirun, where it is a script that can be."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from typing import TYPE_CHECKING, NoReturn

from cmpi._runtime import programs
from cmpi.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

PAGE = "docs/guide/pytest-notebooks-servers.md"


def restart() -> NoReturn:
    """Become `cmpirun python SCRIPT ARGS...`.

    Raises:
        UsageError: This process cannot be started again; the message says what to start instead.
        LaunchError: cmpirun cannot be started.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    host = hosting_program(main, sys.modules.keys(), sys.argv, sys.orig_argv[1:])
    interactive = hasattr(sys, "ps1") or sys.flags.interactive or sys.argv[:1] in ([], [""], ["-"])
    if not host and interactive:
        raise UsageError(
            "init() starts the script again under cmpirun, and an interactive session is no script. "
            "Put the program into a file, and run it: cmpirun python FILE"
        )
    if host:
        raise UsageError(
            "init() does not start this process again under cmpirun, as it is more than your script. "
            f"Start all of it so: {host} (see {PAGE})"
        )
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        raise UsageError(
            "init() would start the script again under cmpirun, but sys.stdout or sys.stderr was replaced: "
            "whoever captures the output would wait for it in vain. Call cmpi.init() before that, or run: "
            f"cmpirun python {shlex.join(sys.argv)}"
        )
    cmpirun = [sys.executable, *programs.isolated(programs.CMPIRUN)]
    command = [*cmpirun, "--", sys.executable, *sys.orig_argv[1:]]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise LaunchError(f"cannot start cmpirun: {error}") from None


def hosting_program(main: str, modules: Collection[str], argv: list[str], orig_argv: list[str]) -> str:
    """How to start, under cmpirun, what this process is, if that is not simply a script; "" if it is.

    Args:
        main: The file of `__main__`.
        modules: The names of the modules that are loaded.
        argv: sys.argv.
        orig_argv: What Python was given, without its own name.
    """
    if "ipykernel" in modules and "IPython" in modules:
        return "a Jupyter kernel whose kernelspec begins with `cmpirun --output plain python`"
    if "_pytest.runner" in modules and "pytest" in modules:
        return shlex.join(["cmpirun", "pytest", *argv[1:]])
    if "multiprocessing.spawn" in modules and "--multiprocessing-fork" in orig_argv:
        return "cmpirun python SCRIPT, with the script that starts this process of multiprocessing"
    if not main:
        return shlex.join(["cmpirun", "ipython"]) if "IPython" in modules else ""
    folder = os.path.dirname(os.path.abspath(main))
    if folder == sysconfig.get_path("scripts"):
        return shlex.join(["cmpirun", os.path.basename(main), *argv[1:]])
    libraries = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    if any(folder.startswith(f"{library}/") for library in libraries):
        return shlex.join(["cmpirun", "python", *orig_argv])
    return ""
