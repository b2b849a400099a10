"""Signal handlers wait while the main thread is inside cmpi: their exceptions leave nothing half done.

Python calls a handler between any two instructions of the main thread. One that raises (a time limit by
SIGALRM, Ctrl-C) would cut what cmpi is doing in two; one that calls cmpi would find it in the midst of
something. So each handler is wrapped: while the main thread holds a lock of cmpi's, the call is put off
until it lets go of the lock, or is about to sleep.

`signal.signal` and `signal.getsignal` are replaced: they wrap and unwrap, so that a program sees the
handlers that it has set. Handlers that C libraries set are not concerned, nor are those of asyncio's
`loop.add_signal_handler`, which the event loop calls.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading

from cmpi._base.interrupts import mark
from cmpi._runtime.process.wait_registry import PACKAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Final

MAIN: Final = threading.main_thread().ident
# Handlers by signal, to be called as soon as an exception may cut what the main thread does.
put_off: Final[dict[int, Any]] = {}
# To be called before each handler, which may raise: what a call of cmpi does behind its lock.
before: Final[list[Callable[[], None]]] = []
_locks: Final[list[Any]] = []


class _Guard:
    """Of the main thread."""

    closed = False  # handlers wait though it holds no lock


guard: Final = _Guard()


class _Wrapped:
    """A handler that waits while the main thread is inside cmpi."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _inside() or _in_finalizer(frame):
            put_off[number] = self.handler
        else:
            _call(self.handler, number, frame)


def _inside() -> bool:
    if guard.closed:
        return True
    for lock in _locks:  # noqa: SIM110  no generator, which would be a frame more for each signal
        if lock._is_owned():
            return True
    return False


def _in_finalizer(frame: FrameType | None) -> bool:
    """Whether this is in a `__del__` of cmpi's: Python drops an exception that is raised there."""
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _call(handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    for first in before:
        first()
    try:
        handler(number, frame)
    except BaseException as error:
        mark(error)
        raise


def call_put_off() -> None:
    """Call the handlers that were put off, unless this thread is inside cmpi still, or another."""
    if threading.get_ident() != MAIN or _inside():
        return
    while put_off:
        number, handler = put_off.popitem()
        try:
            _call(handler, number, sys._getframe(1))
        finally:
            call_put_off()  # the others, even if this one raises


def protect(lock: Any) -> None:
    """Have handlers wait while the main thread holds this lock, which has `_is_owned()`."""
    _locks.append(lock)


def release(lock: Any) -> None:
    """This lock is not used any more."""
    _locks[:] = [other for other in _locks if other is not lock]


def _wrapped(handler: Any) -> Any:
    return _Wrapped(handler) if callable(handler) and not isinstance(handler, _Wrapped) else handler


def _unwrapped(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Wrapped) else handler


def install() -> None:
    """Wrap the handlers that are set, and those that will be. Again, it does nothing more."""
    if threading.get_ident() == MAIN:
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                _set(number, _wrapped(handler))
    signal.signal, signal.getsignal = _signal, _getsignal


_set: Final = signal.signal
_get: Final = signal.getsignal


@functools.wraps(_set)
def _signal(signalnum: Any, handler: Any) -> Any:
    return _unwrapped(_set(signalnum, _wrapped(handler)))


@functools.wraps(_get)
def _getsignal(signalnum: Any) -> Any:
    return _unwrapped(_get(signalnum))
