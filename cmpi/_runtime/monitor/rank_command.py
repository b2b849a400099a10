"""Builds the command that a rank's monitor starts: Python programs run through `rank_main`."""

from __future__ import annotations

import os

from cmpi._core import python_command
from cmpi._runtime import programs


def rank_command(argv: list[str], cwd: str) -> list[str]:
    """The command for a rank that was asked to run `argv` in `cwd`.

    A Python program, or a script with Python in its first line, is run through `rank_main`; others
    unchanged.
    """
    runner = programs.path_of(programs.RANK_MAIN)
    if python_command.is_python(argv[0]):
        return python_command.through(argv, runner) or argv
    path = _executable(argv[0], cwd)
    try:
        with open(os.path.join(cwd, path), "rb") as file:
            interpreter = python_command.interpreter_of(file.read(256))
    except OSError:
        return argv  # it cannot be executed or read: the system's own message is best
    if (
        not interpreter
        or not python_command.is_python(interpreter[0])
        or not _executable(interpreter[0], cwd)
    ):
        return argv
    return python_command.through([*interpreter, path, *argv[1:]], runner) or argv


def _executable(program: str, cwd: str) -> str:
    """The path of a program, as execvp would find it; "" if there is none."""
    folders = [""] if "/" in program else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, program)
        there = os.path.join(cwd, path)
        if os.path.isfile(there) and os.access(there, os.X_OK):
            return path
    return ""
