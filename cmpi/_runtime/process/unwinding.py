"""Tells finalizers whether their object is being dropped because of an exception, which Python does not
tell.

An exception that leaves a frame drops the frame's objects in one of two ways:

- Objects on the frame's stack (`Sender(pid).send(risky())`) are dropped at once. The traceback then refers
to
  the frame, at its current instruction.
- Local variables are dropped with the traceback, when the exception was caught and is released. The frame
  that caught it is then at the end of an `except` clause.

An exception that was stored somewhere and released later is not recognised.

Source: CPython 3.10 to 3.14, `Python/ceval.c` and `Python/compile.c`. Elsewhere, nothing is recognised.
"""

from __future__ import annotations

import gc
import opcode
import sys
from types import TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final

_CODES: Final = opcode.opmap
_POP_EXCEPT: Final = _CODES.get("POP_EXCEPT", -1)
_EXTENDED_ARG: Final = _CODES["EXTENDED_ARG"]
_LOADS: Final = [_CODES[name] for name in ("LOAD_CONST", "LOAD_COMMON_CONSTANT") if name in _CODES]
_STORES: Final = [code for name, code in _CODES.items() if name.startswith("STORE_")]


class Unwinding:
    """An exception because of which an object is being dropped.

    Attributes:
        cause: Where, in words.
        caught: False if it is still on its way through the frames.
    """

    def __init__(self, frame: FrameType, caught: bool) -> None:
        self.caught = caught
        code = frame.f_code
        what = "an exception caught in" if caught else "an exception in"
        self.cause = f"{what} {code.co_name} at {code.co_filename}:{frame.f_lineno}"


def unwinding() -> Unwinding | None:
    """Return the exception because of which the caller, a `__del__`, is called; None if there is none.

    Blocks: never; it searches the garbage collector's objects if anything else refers to the frame.
    """
    try:
        frame = sys._getframe(2)
    except ValueError:
        return None  # a thread or the interpreter is ending
    if _ends_except_clause(frame):
        return Unwinding(frame, caught=True)
    if sys.getrefcount(frame) > _plain_references and _is_left(frame):
        return Unwinding(frame, caught=False)
    return None


def _ends_except_clause(frame: FrameType) -> bool:
    """Whether the frame is releasing an exception: at POP_EXCEPT, or at the `e = None` that follows it."""
    code, at = frame.f_code.co_code, frame.f_lasti
    if at < 0:
        return False
    if code[at] == _POP_EXCEPT:
        return True
    if code[at] not in _STORES:
        return False
    before = [code[i] for i in range(at - 2, max(at - 10, -1), -2) if code[i] != _EXTENDED_ARG]
    return len(before) > 1 and before[0] in _LOADS and before[1] == _POP_EXCEPT


def _is_left(frame: FrameType) -> bool:
    """Whether an exception is leaving the frame, or the block that it is in."""
    return any(
        isinstance(found, TracebackType) and found.tb_frame is frame and found.tb_lasti == frame.f_lasti
        for found in gc.get_referrers(frame)
    )


class _Probe:
    """Counts the references that a frame has when no exception is leaving it."""

    count = 0

    def __del__(self) -> None:
        frame = sys._getframe(1)
        _Probe.count = sys.getrefcount(frame)


def _count_plain_references() -> int:
    _Probe()
    return _Probe.count


_plain_references: Final = _count_plain_references()
