"""Records what the threads of this process wait for, and since when, for stacks and the deadlock check."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

from cmpi._runtime import programs
from cmpi._runtime.linux import foreign_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType
    from typing import Any

    from cmpi.identifiers import Pid

PACKAGE = f"{programs.home()}/cmpi"
OURS = ("cmpi-progress", "cmpi-linker")  # threads
_LIBRARY = os.path.dirname(os.__file__)
_ASYNCIO = f"{_LIBRARY}/asyncio/"
_POOL = f"{_LIBRARY}/concurrent/futures/thread.py"
MOST_SHOWN = 10  # of the waits of an event loop's tasks


class Wait:
    """One wait, of a thread or of a task in the event loop that it runs; a context manager around it."""

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
        asyncio = sys.modules.get("asyncio")
        self.loop = None if asyncio is None else asyncio._get_running_loop()
        self.thread, self.native_thread = threading.get_ident(), threading.get_native_id()
        self.since_s, self.site = time.monotonic(), call_site()
        self._waits.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.end(self)

    @property
    def text(self) -> str:
        """In words: what for, where, how long."""
        names = [str(pid) for pid in self.pids[:3]]
        more = f" and {len(self.pids) - 3} more" if len(self.pids) > 3 else ""
        of = f" {', '.join(names)}{more}" if names else ""
        return f"{self.kind}{of} at {self.site}, for {time.monotonic() - self.since_s:.1f} s"


class WaitRegistry:
    """Of all threads. Thread-safe."""

    def __init__(self) -> None:
        self._all: dict[Wait, None] = {}
        self.epoch = 0  # counts what begins and ends

    def on(self, kind: str, pids: Sequence[Pid], timeout_s: float | None, ready: Callable[[], Any]) -> Wait:
        """This thread, or task, is about to wait, for one of these processes, until `ready()`.

        A timeout of None is for ever. `ready` is called with the node's lock, by the progress thread too:
        who was woken and has not run yet does not wait any more.
        """
        return Wait(self, kind, pids, timeout_s, ready)

    def begin(self, wait: Wait) -> None:
        """It waits."""
        self.epoch += 1
        self._all[wait] = None

    def end(self, wait: Wait) -> None:
        """It does no more."""
        self.epoch += 1
        self._all.pop(wait, None)

    def stuck(self, after_s: float) -> list[Wait]:
        """The waits of this process, if it does nothing but wait for others, for ever, since so long.
        With the node's lock.

        Empty if any thread, be it one that only a C library knows, may be computing, sleeping or waiting
        for something else than a channel, if a timer is set, or if there is a handler for a signal that
        somebody may send: then it may go on by itself. So may an event loop that is not asyncio's own.
        In doubt: empty.
        """
        waits = list(self._all)
        old = time.monotonic() - after_s
        # Their age first: this is asked each time the progress thread has been awake.
        if not waits or any(wait.since_s > old or not wait.for_ever for wait in waits):
            return []
        if any(wait.ready() for wait in waits):
            return []
        blocked = {wait.thread for wait in waits if wait.loop is None}
        loops = {wait.loop for wait in waits if wait.loop is not None}
        running = sys._current_frames()
        threads = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in running.items():  # also of threads that `threading` does not know
            thread = threads.get(ident)
            if ident in blocked or _has_no_work(frame) or (thread is not None and thread.name in OURS):
                continue
            if not any(_sleeps(loop, ident, frame) for loop in loops):
                return []
        if signal.getitimer(signal.ITIMER_REAL)[0] or foreign_threads.timers() or _handles_signals():
            return []
        known = {thread.native_id or 0 for thread in threads.values()}
        known |= {wait.native_thread for wait in waits} | {os.getpid()}
        return [] if foreign_threads.may_call_back(known) else waits

    def stacks(self) -> str:
        """Describe what each thread waits for, and its Python stack from the user's code on."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, frame in sys._current_frames().items():
            name = names.get(ident, "?")
            if name in OURS:
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
    """Each, or so many that one can still read them."""
    more = [f"and {len(waits) - MOST_SHOWN} more"] if len(waits) > MOST_SHOWN else []
    return [wait.text for wait in waits[:MOST_SHOWN]] + more


def _has_no_work(frame: FrameType | None) -> bool:
    """Whether the thread at this place is one of a pool, and waits for somebody to give it work."""
    return frame is not None and frame.f_code.co_name == "_worker" and frame.f_code.co_filename == _POOL


def _sleeps(loop: AbstractEventLoop, thread: int, frame: FrameType | None) -> bool:
    """Whether the thread at this place sleeps in this loop, and only another thread of the process can wake
    it: no timer, no descriptor but the one for that, no signal it has asked for, no callback that is due.

    Source: ours, from `asyncio/base_events.py` and `selector_events.py` of CPython 3.10 to 3.14.
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
        return False  # another loop, or one that was closed


def _handles_signals() -> bool:
    """Whether a signal, which anybody may send, would have Python code run here. Not counted: Ctrl-C as
    Python and asyncio take it, and what this package does about signals."""
    for number in range(1, signal.NSIG):
        handler = signal.getsignal(number)
        if not callable(handler) or handler is signal.default_int_handler:
            continue
        module = getattr(getattr(handler, "func", handler), "__module__", None) or ""
        if module != "asyncio.runners" and module.partition(".")[0] != "cmpi":
            return True
    return False


def call_site() -> str:
    """File and line of the nearest caller outside of this package, and of asyncio."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((PACKAGE, _ASYNCIO)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
