"""Imports optional libraries when they are needed, with an error that says what to install."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from cmpi.errors import UsageError


class MissingExtra(UsageError, ImportError):
    """A library is not installed; the message has the command that installs it."""


def load(name: str, what: str, install: str) -> Any:
    """Import a library. Raises: MissingExtra."""
    found = sys.modules.get(name)
    if found is not None:  # which import_module takes ten times as long to find
        return found
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs {name.partition('.')[0]}, which cannot be imported ({error}). "
            f"Install it: pip install {install}"
        ) from error


def pyarrow(module: str = "") -> Any:
    """pyarrow, or one of its modules. Raises: MissingExtra."""
    return load(f"pyarrow{module and '.'}{module}", "Arrow and Parquet data", "'cmpi[data]'")


def fsspec() -> Any:
    """fsspec. Raises: MissingExtra."""
    return load("fsspec.core", "a path with a protocol", "'cmpi[data]'")


def fastwarc() -> Any:
    """fastwarc's module for WARC files. Raises: MissingExtra."""
    return load("fastwarc.warc", "a WARC file", "'cmpi[data]'")


def zstd() -> Any:
    """The module of Python 3.14 for Zstandard, or its backport. Raises: MissingExtra."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return load(name, "a .zst file", "'cmpi[data]'")


def adbc_postgresql() -> Any:
    """ADBC's driver for PostgreSQL. Raises: MissingExtra."""
    return load("adbc_driver_postgresql.dbapi", "PostgreSQL", "'cmpi[data]'")


def numpy() -> Any:
    """numpy, imported only here because that takes long."""
    return load("numpy", "an array", "numpy")


def pandas() -> Any:
    """pandas. Raises: MissingExtra."""
    return load("pandas", "a pandas table", "pandas")


def polars() -> Any:
    """polars. Raises: MissingExtra."""
    return load("polars", "a polars table", "polars")


def tqdm() -> Any:
    """tqdm's bar without its monitoring thread, which would disable the deadlock check. Raises:
    MissingExtra."""
    bar = load("tqdm.auto", "a progress bar", "'cmpi[data]'").tqdm
    return type(bar.__name__, (bar,), {"monitor_interval": 0})


def datasketches() -> Any:
    """datasketches. Raises: MissingExtra."""
    return load("datasketches", "an estimate", "datasketches")
