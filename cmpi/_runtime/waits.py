"""What the threads of this process wait for, and since when: for stacks and for the deadlock check."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any

    from cmpi._ids import Pid

PACKAGE = os.path.dirname(os.path.dirname(__file__))
OURS = ("cmpi-progress", "cmpi-linker")  # threads


class Wait:
    """One thread's wait; a context manager around it."""

    def __init__(
        self,
        waits: Waits,
        kind: str,
        pids: Sequence[Pid],
        timeout_s: float | None,
        ready: Callable[[], Any],
    ) -> None:
        self._waits, self.kind, self.pids, self.ready = waits, kind, pids, ready
        self.for_ever = timeout_s is None
        self.since_s = time.monotonic()
        self.site = call_site()

    def __enter__(self) -> None:
        self._waits.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.end()

    @property
    def text(self) -> str:
        """In words: what for, where, how long."""
        names = [str(pid) for pid in self.pids[:3]]
        more = f" and {len(self.pids) - 3} more" if len(self.pids) > 3 else ""
        of = f" {', '.join(names)}{more}" if names else ""
        return f"{self.kind}{of} at {self.site}, for {time.monotonic() - self.since_s:.1f} s"


class Waits:
    """Of all threads. Thread-safe."""

    def __init__(self) -> None:
        self._by_thread: dict[int, Wait] = {}
        self.epoch = 0  # counts what begins and ends

    def on(self, kind: str, pids: Sequence[Pid], timeout_s: float | None, ready: Callable[[], Any]) -> Wait:
        """This thread is about to wait, for one of these processes, until `ready()`.

        A timeout of None is for ever. `ready` is called with the node's lock, by the progress thread too:
        who was woken and has not run yet does not wait any more.
        """
        return Wait(self, kind, pids, timeout_s, ready)

    def begin(self, wait: Wait) -> None:
        """It waits."""
        self.epoch += 1
        self._by_thread[threading.get_ident()] = wait

    def end(self) -> None:
        """It does no more."""
        self.epoch += 1
        self._by_thread.pop(threading.get_ident(), None)

    def stuck(self, after_s: float) -> list[Wait]:
        """The waits of this process, if it does nothing but wait for others, for ever, since so long.
        With the node's lock.

        Empty if any thread may be computing, sleeping or waiting for something else than a channel, or
        if a timer is set: then it may go on by itself.
        """
        waits = dict(self._by_thread)
        old = time.monotonic() - after_s
        # Their age first: this is asked each time the progress thread has been awake.
        if not waits or any(wait.since_s > old or not wait.for_ever for wait in waits.values()):
            return []
        if any(wait.ready() for wait in waits.values()):
            return []
        for thread in threading.enumerate():
            if thread.name not in OURS and thread.ident not in waits:
                return []
        return [] if signal.getitimer(signal.ITIMER_REAL)[0] else list(waits.values())

    def stacks(self) -> str:
        """What each thread waits for, and its Python stack, from the person's code on."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = []
        for ident, frame in sys._current_frames().items():
            name = names.get(ident, "?")
            if name in OURS:
                continue
            wait = self._by_thread.get(ident)
            parts.append(f"{name}: {wait.text if wait else 'runs'}\n")
            stack = [
                entry
                for entry in traceback.extract_stack(frame)
                if not entry.filename.startswith((PACKAGE, "<frozen runpy"))
                and entry.filename != threading.__file__
            ]
            parts += traceback.format_list(stack)
        return "".join(parts)


def call_site() -> str:
    """File and line of the nearest caller outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
