"""Delays signal handlers while the main thread is inside cmpi, so that their exceptions leave nothing half
done.

Python calls a handler between any two instructions of the main thread. A handler that raises (a time limit
by SIGALRM, Ctrl-C) would interrupt cmpi in the middle of an operation; a handler that calls cmpi would
find it in an inconsistent state. Each handler is therefore wrapped: while the main thread holds one of
cmpi's locks, or is in a `with uncut:` block, the call is delayed until it releases the lock or is about to
sleep.

`signal.signal` and `signal.getsignal` are replaced: they wrap and unwrap, so that a program sees the
handlers that it has set. Handlers set by C libraries are not affected, nor are those of asyncio's
`loop.add_signal_handler`, which the event loop calls.
"""

from __future__ import annotations

import _signal as signal_in_c  # type: ignore[import-not-found]  # without the enums, which take memory
import _thread
import functools
import os
import signal
import sys
import threading
import time
import weakref
from _thread import get_ident

from cmpi._base.interrupts import FINALIZERS, came_from_handler, mark, signal_of
from cmpi._runtime.process.wait_registry import PACKAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Final

AGAIN_S: Final = 0.001  # after this, a signal that arrived in a finalizer or a recovery is sent again
_FINALIZE: Final[Any] = weakref.finalize.__call__.__code__
MAIN: Final = threading.main_thread().ident
# What cmpi calls while it finalizes or recovers, such as `threading.Condition`, is part of that.
_OURS: Final = (PACKAGE, threading.__file__.rpartition("/")[0] + "/")
# Delayed handlers, by signal, to be called as soon as an exception can do no harm.
put_off: Final[dict[int, Any]] = {}
# Called before each handler, which may raise: the work that a call of cmpi does after releasing its lock.
before: Final[list[Callable[[], None]]] = []
_locks: Final[list[Any]] = []
_due: Final[set[int]] = set()  # signals that will be sent again in a moment
_report_dropped: Callable[[Any], Any] = sys.__unraisablehook__


class _Uncut:
    """`with uncut:` delays signal handlers while the main thread is in the block. Blocks may be nested; in
    other threads, which get no signals, they have no effect."""

    depth = 0  # of the main thread

    def __enter__(self) -> None:
        if get_ident() == MAIN:
            self.depth += 1

    def __exit__(self, *_: object) -> None:
        if get_ident() == MAIN:
            self.depth -= 1
            if put_off:
                call_put_off()


uncut: Final = _Uncut()


class _Wrapped:
    """A handler whose call is delayed while the main thread is inside cmpi."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        put_off[number] = self.handler
        _call_put_off(frame)


def _inside() -> bool:
    if uncut.depth:
        return True
    for lock in _locks:  # noqa: SIM110  no generator, which would be a frame more for each signal
        if lock._is_owned():
            return True
    return False


def _in_finalizer(frame: FrameType | None) -> bool:
    """Whether the garbage collector has called this frame: Python drops exceptions raised there."""
    while frame is not None and (frame.f_code is _FINALIZE or frame.f_code.co_filename.startswith(_OURS)):
        ours = frame.f_code.co_filename.startswith(PACKAGE)
        if frame.f_code is _FINALIZE or (ours and frame.f_code.co_name in FINALIZERS):
            return True
        frame = frame.f_back
    return False


def _in_recovery(frame: FrameType | None) -> bool:
    """Whether cmpi is dealing with the exception of an earlier handler, which a second one would
    interrupt."""
    error = sys.exc_info()[1]
    while error is not None and not came_from_handler(error):
        error = error.__context__
    if error is None:
        return False
    passed, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
            passed.append(trace.tb_frame)
        trace = trace.tb_next
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        if any(frame is each for each in passed):
            return True
        frame = frame.f_back
    return False


def _dropped(unraisable: Any) -> None:
    """Python has dropped an exception that a finalizer raised. If a handler raised it in a finalizer of
    cmpi, send the signal again: `_in_finalizer` does not see the frame of a function that Python is about
    to enter."""
    number = signal_of(unraisable.exc_value)
    code = getattr(unraisable.object, "__code__", None)
    if number is not None and code is not None and code.co_filename.startswith(PACKAGE):
        _send_again(number)
    else:
        _report_dropped(unraisable)


def _send_again(number: int) -> None:
    """Send the main thread this signal again in a moment; if it comes until then, it counts as the same."""
    if number not in _due:
        _due.add(number)
        try:
            _thread.start_new_thread(_again, (number,))  # takes no lock: a finalizer may run anywhere
        except RuntimeError:
            _due.discard(number)
            raise


def _again(number: int) -> None:
    time.sleep(AGAIN_S)
    _due.discard(number)
    _thread.interrupt_main(signal.Signals(number))


def _prepare() -> None:
    for first in before:
        first()


def _call(handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    try:
        handler(number, frame)
    except BaseException as error:
        mark(error, number)
        raise


def call_put_off() -> None:
    """Call the delayed handlers, unless this thread is still inside cmpi, or is not the main thread."""
    if put_off and get_ident() == MAIN:
        _call_put_off(sys._getframe(1))


def _call_put_off(frame: FrameType | None) -> None:
    """As `call_put_off`, in the main thread, which was interrupted in this frame."""
    if _inside():
        return
    while put_off:
        # A signal that comes meanwhile is put off, too. Where signals come faster than this is done, each
        # would otherwise interrupt the work for the one before, until the stack is full.
        uncut.depth += 1
        number, later = 0, True
        handler: Any = None
        try:
            if put_off:  # else one that came just before that has called them
                number, handler = put_off.popitem()
                later = number in _due or _in_finalizer(frame) or _in_recovery(frame)
                if later:
                    _send_again(number)
                else:
                    _prepare()
        finally:
            uncut.depth -= 1
        if not later:
            try:
                _call(handler, number, frame)
            except BaseException:
                _call_put_off(frame)  # the others must be called, too
                raise


def call_handlers() -> None:
    """Inside a `with uncut:` block, call the delayed handlers at a point where their exceptions do no harm.
    While one runs, others wait."""
    if put_off and get_ident() == MAIN:
        while put_off:
            number, handler = put_off.popitem()
            _prepare()
            _call(handler, number, sys._getframe(1))


def protect(lock: Any) -> None:
    """Delay handlers while the main thread holds this lock, which must have `_is_owned()`."""
    _locks.append(lock)


def release(lock: Any) -> None:
    """Forget a lock that is no longer used."""
    _locks[:] = [other for other in _locks if other is not lock]


def _wrapped(handler: Any) -> Any:
    return _Wrapped(handler) if callable(handler) and not isinstance(handler, _Wrapped) else handler


def _unwrapped(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Wrapped) else handler


def install() -> None:
    """Wrap the handlers that are set, and all that will be set. A second call does nothing."""
    if get_ident() == MAIN:
        for number in signal_in_c.valid_signals():
            handler = signal_in_c.getsignal(number)
            if callable(handler):
                signal_in_c.signal(number, _wrapped(handler))
    signal.signal, signal.getsignal = _signal, _getsignal
    if sys.unraisablehook is not _dropped:
        os.register_at_fork(after_in_child=_due.clear)  # the threads that would send them are not there
        global _report_dropped
        _report_dropped, sys.unraisablehook = sys.unraisablehook, _dropped


_set: Final = signal.signal
_get: Final = signal.getsignal


@functools.wraps(_set)
def _signal(signalnum: Any, handler: Any) -> Any:
    return _unwrapped(_set(signalnum, _wrapped(handler)))


@functools.wraps(_get)
def _getsignal(signalnum: Any) -> Any:
    return _unwrapped(_get(signalnum))
