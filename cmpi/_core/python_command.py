"""Parses a Python command line, and rewrites it to run its program through a script of cmpi's.

Source: `Python/getopt.c` and `Modules/main.c` of CPython 3.10 to 3.14.
"""

from __future__ import annotations

_WITH_VALUE = "cmWX"  # options whose value is the rest of the word, or the next word
_FLAGS = "bBdEIOPqRsSuv"  # options that change nothing about what is run
_LONG_WITH_VALUE = "--check-hash-based-pycs"


def is_python(program: str) -> bool:
    """Whether a program of this name, or path, is a Python interpreter."""
    name = program.rpartition("/")[2].removesuffix("t")  # free-threaded: python3.13t
    version = name.removeprefix("python").removeprefix("pypy")
    return version != name and (not version or version.partition(".")[::2] == ("3", version[2:]))


def through(argv: list[str], runner: str) -> list[str] | None:
    """Return a command in which `runner` runs what this Python command runs.

    Args:
        argv: The command; its first word is the interpreter.
        runner: A script. Its arguments are the kind (-c, -m or "" for a file), what to run, and the
            arguments for that.

    Returns:
        None if the command runs no program (--version), an interactive session or standard input, or has an
        option that this function does not know.
    """
    options: list[str] = []
    words = argv[1:]
    while words:
        word, words = words[0], words[1:]
        if word == "-":
            return None
        if not word.startswith("-"):
            return [argv[0], *options, runner, "", word, *words]
        if word == _LONG_WITH_VALUE and words:
            options += [word, words[0]]
            words = words[1:]
            continue
        flags = ""
        for i, letter in enumerate(word[1:], 1):
            if letter in _FLAGS:
                flags += letter
                continue
            if letter not in _WITH_VALUE:
                return None
            value = [word[i + 1 :]] if word[i + 1 :] else words[:1]
            if not value:
                return None
            words = words if word[i + 1 :] else words[1:]
            options += [f"-{flags}"] if flags else []
            flags = ""
            if letter in "cm":
                return [argv[0], *options, runner, f"-{letter}", *value, *words]
            options += [f"-{letter}", *value]
            break
        options += [f"-{flags}"] if flags else []
    return None


def interpreter_of(head: bytes) -> list[str]:
    """The interpreter words in a script's first line; empty if there is no such line.

    `/usr/bin/env NAME` counts as NAME alone. Source: Linux execve(2), "Interpreter scripts".
    """
    if not head.startswith(b"#!"):
        return []
    words = head[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip().split(None, 1)
    if len(words) == 2 and words[0].rpartition("/")[2] == "env" and not words[1].startswith("-"):
        return words[1:]
    return words
