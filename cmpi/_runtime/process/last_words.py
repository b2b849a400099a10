"""What a process that ends by an exception tells the root of it."""

from __future__ import annotations

import os
import traceback

from cmpi._core.protocol import frames
from cmpi._core.protocol.wire import encode
from cmpi._runtime import environment
from cmpi._runtime.monitor.start_child import descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

MOST_SUMMARY = 1000  # characters of each
MOST_TRACE = 4000


def raised(error: BaseException, trace: TracebackType | None) -> frames.Raised:
    """The frame: the exception in a few words, and with its traceback."""
    only = traceback.TracebackException(type(error), error, None)
    only.__notes__ = None  # behind the line that names the exception
    summary = list(only.format_exception_only())[-1].strip()
    text = "".join(traceback.format_exception(type(error), error, trace))
    return frames.Raised(_sendable(summary[:MOST_SUMMARY]), _sendable(text[-MOST_TRACE:]))


def tell_unjoined(words: frames.Raised) -> None:
    """Tell the root by way of this rank's monitor, before or without the rank joining the job."""
    try:
        os.write(descriptor(os.environ[environment.CONTROL]), encode(words))
    except (KeyError, ValueError, OSError):
        pass  # closed or removed by the program: the root learns the exit code


def _sendable(text: str) -> str:
    """Lone surrogates, which UTF-8 cannot express, as the escapes that repr shows."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
