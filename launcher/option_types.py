"""Readers of option values, which argparse calls; they raise UsageError with a message for the user."""

from __future__ import annotations

import argparse

from cmpi._core.protocol import launcher_root
from cmpi._runtime.linux import job_folders
from cmpi.errors import UsageError

FIRST_GUEST = "first-guest"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def count(text: str) -> int:
    """A number of ranks."""
    n = int(text) if text.strip().isdigit() else 0
    if n < 1:
        raise UsageError(f"expected a number of ranks, 1 or more; found {text!r}")
    return n


def job_name(text: str) -> str:
    """The name of a job that others can join."""
    if not all(c.isalnum() or c in "_.-" for c in text) or text.startswith(("-", job_folders.PREFIX)):
        raise UsageError(
            f"a name has letters, digits, _, . and -, and does not begin with - or cmpi-; found {text!r}"
        )
    return text


def keeper(text: str) -> tuple[int, int]:
    """A process id and a descriptor; or FIRST_GUEST, for which a file serves as the descriptor."""
    pid, _, ready = text.partition(",")
    return (launcher_root.FIRST_GUEST, -1) if text == FIRST_GUEST else (int(pid), int(ready))


def seconds(text: str) -> float:
    """A time."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise UsageError(f"expected a number of seconds, 0 or more; found {text!r}")
    return number


def split(text: str) -> list[str]:
    """Arguments in one string, as in a shell."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"cannot split {text!r} into arguments as a shell would: {error}") from None


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """`read` as an argparse type; argparse shows the UsageError's own message."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
