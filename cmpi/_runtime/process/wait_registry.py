"""Records what the threads of this process wait for and since when, for stack dumps and the deadlock
check."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

from cmpi._runtime import programs
from cmpi._runtime.linux import foreign_threads
from cmpi._runtime.process.running_loop import running_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType
    from typing import Any

    from cmpi.identifiers import Pid

PACKAGE = f"{programs.home()}/cmpi"
OWN_THREADS = ("cmpi-progress", "cmpi-connector")  # cmpi's own threads
_LIBRARY = os.path.dirname(os.__file__)
_ASYNCIO = f"{_LIBRARY}/asyncio/"
_POOL = f"{_LIBRARY}/concurrent/futures/thread.py"
MOST_SHOWN = 10  # waits of an event loop's tasks


class Wait:
    """One wait of a thread, or of a task in the event loop that the thread runs; used as a context
    manager."""

    def __init__(
        self,
        waits: WaitRegistry,
        kind: str,
        pids: Sequence[Pid],
        timeout_s: float | None,
        ready: Callable[[], Any],
    ) -> None:
        self._waits, self.kind, self.pids, self.ready = waits, kind, pids, ready
        self.for_ever = timeout_s is None
        self.thread = self.native_thread = 0
        self.loop: AbstractEventLoop | None = None

    def __enter__(self) -> None:
        self.loop = running_loop()
        self.thread, self.native_thread = threading.get_ident(), threading.get_native_id()
        self.since_s, self.site = time.monotonic(), call_site()
        self._waits.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.end(self)

    @property
    def text(self) -> str:
        """In words: what is waited for, where, and for how long."""
        names = [str(pid) for pid in self.pids[:3]]
        more = f" and {len(self.pids) - 3} more" if len(self.pids) > 3 else ""
        of = f" {', '.join(names)}{more}" if names else ""
        return f"{self.kind}{of} at {self.site}, for {time.monotonic() - self.since_s:.1f} s"


class WaitRegistry:
    """The waits of all threads. Thread-safe."""

    def __init__(self) -> None:
        self._all: dict[Wait, None] = {}
        self.epoch = 0  # counts beginnings and ends of waits

    def on(self, kind: str, pids: Sequence[Pid], timeout_s: float | None, ready: Callable[[], Any]) -> Wait:
        """Record that this thread or task is about to wait for one of these processes, until `ready()`.

        A timeout of None means for ever. `ready` is called with the node's lock held, also by the progress
        thread: a thread that was woken but has not run yet does not count as waiting.
        """
        return Wait(self, kind, pids, timeout_s, ready)

    def begin(self, wait: Wait) -> None:
        """The wait begins."""
        self.epoch += 1
        self._all[wait] = None

    def end(self, wait: Wait) -> None:
        """The wait ends."""
        self.epoch += 1
        self._all.pop(wait, None)

    def stuck(self, after_s: float) -> list[Wait]:
        """The waits of this process, if for so long it has done nothing but wait for others without a
        timeout. With the node's lock.

        Empty if the process may go on by itself: if any thread, even one that only a C library knows, may
        be computing, sleeping or waiting for something other than a channel; if a timer is set; if there is
        a handler for a signal that may be sent; or if there is an event loop other than asyncio's own.
        Empty in case of doubt.
        """
        waits = list(self._all)
        old = time.monotonic() - after_s
        # Check their age first: this is called each time the progress thread wakes.
        if not waits or any(wait.since_s > old or not wait.for_ever for wait in waits):
            return []
        if any(wait.ready() for wait in waits):
            return []
        blocked = {wait.thread for wait in waits if wait.loop is None}
        loops = {wait.loop for wait in waits if wait.loop is not None}
        running = sys._current_frames()
        threads = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in running.items():  # includes threads that `threading` does not know
            thread = threads.get(ident)
            if (
                ident in blocked
                or _has_no_work(frame)
                or (thread is not None and thread.name in OWN_THREADS)
            ):
                continue
            if not any(_sleeps(loop, ident, frame) for loop in loops):
                return []
        if signal.getitimer(signal.ITIMER_REAL)[0] or foreign_threads.timers() or _handles_signals():
            return []
        known = {thread.native_id or 0 for thread in threads.values()}
        known |= {wait.native_thread for wait in waits} | {os.getpid()}
        return [] if foreign_threads.may_call_back(known) else waits

    def stacks(self) -> str:
        """Describe what each thread waits for, with its Python stack starting at the user's code."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, frame in sys._current_frames().items():
            name = names.get(ident, "?")
            if name in OWN_THREADS:
                continue
            waits = [wait for wait in list(self._all) if wait.thread == ident]
            does = "runs" if not waits or waits[-1].loop is None else "runs an event loop"
            own = [wait.text for wait in waits if wait.loop is None]
            parts.append(f"{name}: {own[-1] if own else does}\n")
            parts += [f"  a task: {text}\n" for text in in_words([w for w in waits if w.loop is not None])]
            stack = [
                entry
                for entry in traceback.extract_stack(frame)
                if not entry.filename.startswith((PACKAGE, "<frozen runpy"))
                and entry.filename != threading.__file__
            ]
            parts += traceback.format_list(stack)
        return "".join(parts)


def in_words(waits: list[Wait]) -> list[str]:
    """Describe the waits, but not more than one can read."""
    more = [f"and {len(waits) - MOST_SHOWN} more"] if len(waits) > MOST_SHOWN else []
    return [wait.text for wait in waits[:MOST_SHOWN]] + more


def _has_no_work(frame: FrameType | None) -> bool:
    """Whether the thread in this frame belongs to a pool and waits for work."""
    return frame is not None and frame.f_code.co_name == "_worker" and frame.f_code.co_filename == _POOL


def _sleeps(loop: AbstractEventLoop, thread: int, frame: FrameType | None) -> bool:
    """Whether the thread in this frame sleeps in this loop and only another thread of the process can wake
    it: the loop has no timer, no descriptor except its own wake-up, no signal handler and no callback that
    is due.

    Source: none; based on `asyncio/base_events.py` and `selector_events.py` of CPython 3.10 to 3.14.
    """
    import selectors  # as asyncio does

    if frame is None or frame.f_code is not selectors.DefaultSelector.select.__code__:
        return False
    it: Any = loop
    try:
        if it._thread_id != thread or it._ready or it._signal_handlers:
            return False
        if not all(timer.cancelled() for timer in list(it._scheduled)):
            return False
        return list(it._selector.get_map()) == [it._ssock.fileno()]
    except AttributeError:
        return False  # another loop, or a closed one


def _handles_signals() -> bool:
    """Whether a signal, which anybody may send, would run Python code here. Python's and asyncio's own
    handling of Ctrl-C does not count, nor do cmpi's handlers."""
    for number in range(1, signal.NSIG):
        handler = signal.getsignal(number)
        if not callable(handler) or handler is signal.default_int_handler:
            continue
        module = getattr(getattr(handler, "func", handler), "__module__", None) or ""
        if module != "asyncio.runners" and module.partition(".")[0] != "cmpi":
            return True
    return False


def call_site() -> str:
    """File and line of the nearest caller outside this package and asyncio."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((PACKAGE, _ASYNCIO)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
