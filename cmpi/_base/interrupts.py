"""Tells exceptions that a signal handler raised from those that the interrupted code raised."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MARK: Final = "__cmpi_handler__"
# Functions of these names are called by the garbage collector, and Python drops their exceptions. So that
# this applies to them too, callbacks of weak references are named `finalized`.
FINALIZERS: Final = ("__del__", "finalized")


def mark(error: BaseException, number: int) -> None:
    """Mark an exception as raised by the handler of this signal."""
    error.__dict__[_MARK] = number


def came_from_handler(error: BaseException) -> bool:
    """Whether a signal handler raised this."""
    return _MARK in error.__dict__


def signal_of(error: BaseException | None) -> int | None:
    """The signal whose handler raised this, if one did."""
    return None if error is None else error.__dict__.get(_MARK)
