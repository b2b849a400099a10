"""Turns keyword arguments of a function into options of cmpirun."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from cmpi._runtime import programs


def cmpirun(options: Mapping[str, Any]) -> list[str]:
    """The command line of a cmpirun with these options."""
    return [sys.executable, *programs.isolated(programs.CMPIRUN), *as_arguments(options)]


def as_arguments(options: Mapping[str, Any]) -> list[str]:
    """The options as command line arguments.

    >>> as_arguments({"n": 2, "cpus": 4, "dry_run": True, "verbose": False, "host": ["a", "b"]})
    ['-n', '2', '--cpus=4', '--dry-run', '--host=a', '--host=b']
    """
    line: list[str] = []
    for key, value in options.items():
        name = f"--{key.replace('_', '-')}" if len(key) > 1 else f"-{key}"
        if value is True:
            line.append(name)
        elif value is not False and value is not None:
            for each in value if isinstance(value, (list, tuple)) else [value]:
                # A value that begins with a dash, such as mpi_args="--mca ...", needs the "=".
                line += [f"{name}={each}"] if len(key) > 1 else [name, str(each)]
    return line
