"""Tells the root about the exception by which this process ends."""

from __future__ import annotations

import os
import socket
import traceback

from cmpi._core.protocol import process_root
from cmpi._core.protocol.wire import encode
from cmpi._runtime import environment
from cmpi._runtime.monitor.start_child import descriptor
from cmpi._runtime.process.wait_registry import PACKAGE
from cmpi._transport import joining
from cmpi.errors import NotRunning, PeerExited, PeerFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from cmpi.identifiers import Pid

MOST_SUMMARY = 1000  # characters
MOST_TRACE = 4000


def of(error: BaseException) -> list[Any]:
    """The frames for the root when this exception ends the process: the ends of others that it did not deal
    with, and the exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next  # starting from the program's code
    unhandled: list[Any] = [process_root.LookedAt(pid.value, False) for pid in _ended_by(error)]
    return [*unhandled, raised(error, trace)]


def raised(error: BaseException, trace: TracebackType | None) -> process_root.Raised:
    """The frame with the exception, in a few words and with its traceback."""
    only = traceback.TracebackException(type(error), error, None)
    only.__notes__ = None  # notes come after the line that names the exception
    summary = list(only.format_exception_only())[-1].strip()
    text = "".join(traceback.format_exception(type(error), error, trace))
    return process_root.Raised(_sendable(summary[:MOST_SUMMARY]), _sendable(text[-MOST_TRACE:]))


def _ended_by(error: BaseException) -> list[Pid]:
    """The processes whose ends caused this exception, directly or through a chain."""
    pids: list[Pid] = []
    seen: set[int] = set()
    follow: BaseException | None = error
    while follow is not None and id(follow) not in seen:
        seen.add(id(follow))
        if isinstance(follow, (PeerExited, PeerFailed)):
            pids.append(follow.pid)
        follow = follow.__cause__ or follow.__context__
    return pids


def tell_unjoined(words: process_root.Raised) -> None:
    """Tell the root through this rank's monitor, although the rank has not joined the job.

    Blocks: until the monitor accepts it.
    """
    try:
        control = descriptor(os.environ[environment.CONTROL])
        with socket.socket(fileno=control) as inherited:
            joining.join(inherited).sendall(encode(words))
    except (KeyError, ValueError, OSError, NotRunning):
        # Closed or removed by the program, or another process has joined: the root gets only the exit code.
        pass


def _sendable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot express, by the escapes that repr shows."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
