"""Receives the answers of a pool's workers, in the pool's own thread and in threads that wait for a future.

Waking a thread costs ten times as much as a message. A thread that needs an answer therefore polls for it
itself for a while (`help`), without the pool's own thread. The pool's thread polls while answers keep
coming, and then sleeps until a worker's channel wakes it. Only one thread polls at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmpi._runtime.process.signal_guard import call_handlers, uncut
from cmpi.errors import CmpiError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cmpi.pool.handle import WorkerHandle

LOOK_S = 500e-6  # longer than a sleeping worker takes to wake up and answer
STANDBY_S = 0.0005  # how long workers do not ring after a thread has polled for itself
PAUSE_S = 50e-6  # between two polls of the pool's own thread


class Answers:
    """The pool's receiving side. Thread-safe.

    Args:
        deadline_s: Returns the time (of `time.monotonic`) at which to call `tick`; None: never.
        tick: Does what is due.
    """

    def __init__(self, deadline_s: Callable[[], float | None], tick: Callable[[], None]) -> None:
        self._deadline_s, self._tick = deadline_s, tick
        self._handles: tuple[WorkerHandle, ...] = ()
        self._looking = threading.Lock()  # held by the thread that looks
        self._changes = threading.Lock()  # of `_handles`
        self._helping = self._helped = 0  # threads that look for themselves now, and that ever did
        self._asleep = False  # the pool's thread sleeps until a worker rings
        self._came = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="cmpi-pool", daemon=True)
        self._thread.start()

    def add(self, handle: WorkerHandle) -> None:
        """Receive from this worker too. Blocks: never."""
        with self._changes:
            self._handles = (*self._handles, handle)
        with handle.answers._lock:
            handle.answers._end.changed.watch(self._wake)
        self._came.set()

    def wake(self) -> None:
        """Make the thread check its deadline again. Blocks: never."""
        with uncut:
            self._came.set()

    def stop(self) -> None:
        """Stop receiving. Blocks: until the thread has ended, unless it is the caller."""
        self._stopped = True
        self._came.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def help(self, future: Future[Any], timeout: float | None) -> None:
        """Poll for answers in this thread until the future is done or no more answers come.

        Blocks: as long as answers come, for at most `timeout` seconds.
        """
        now_s = time.monotonic()
        end_s = None if timeout is None else now_s + timeout
        until_s = now_s + LOOK_S
        with uncut:  # a signal handler's exception could leave `_helping` too large for ever
            self._helping += 1
            self._helped += 1
            try:
                while not future.done():
                    heard = self._look()
                    if heard and self._asleep:
                        self._came.set()  # its deadline may have changed
                    if heard:
                        until_s = time.monotonic() + LOOK_S
                    elif heard is None:
                        time.sleep(0)  # the other thread needs the GIL to finish its poll
                    if time.monotonic() > until_s or (end_s is not None and time.monotonic() > end_s):
                        return
                    call_handlers()
            finally:
                self._helping -= 1
                if self._asleep or not (future.done() or self._arm()):
                    self._came.set()

    def glance(self) -> None:
        """Receive the answers that have already come, unless another thread is polling. Blocks: never."""
        with uncut:
            self._helped += 1
            if self._look() is not None and self._asleep:
                self._came.set()

    def _look(self) -> bool | None:
        """Take in what is there; True if there was anything. None: another thread is looking. With
        `uncut`."""
        if not self._looking.acquire(blocking=False):
            return None
        try:
            return self._scan()
        finally:
            self._looking.release()

    def _wake(self) -> None:
        if not self._helping:
            self._came.set()

    def _run(self) -> None:
        until_s, seen = 0.0, 0
        while not self._stopped:
            helped = self._helped
            if helped != seen:  # a thread is polling for itself, and will probably do so again at once
                seen = helped
                self._came.clear()
                self._came.wait(min(STANDBY_S, self._left_s(STANDBY_S)))
            else:
                with self._looking:
                    if self._scan():
                        until_s = time.monotonic() + LOOK_S
                if time.monotonic() < until_s:
                    time.sleep(PAUSE_S)  # other threads of this process have work to do
                    continue
                self._sleep(helped)
            self._tick()

    def _left_s(self, most_s: float | None) -> Any:
        """The time until the next deadline."""
        deadline_s = self._deadline_s()
        return most_s if deadline_s is None else max(0.0, deadline_s - time.monotonic())

    def _sleep(self, helped: int) -> None:
        """Sleep until a worker rings."""
        self._came.clear()
        self._asleep = True
        try:
            if self._arm() and helped == self._helped:
                self._came.wait(self._left_s(None))
        finally:
            self._asleep = False

    def _arm(self) -> bool:
        """Make the workers ring for their next answers; False if an answer has already come."""
        for handle in self._handles:
            with handle.answers._lock:
                handle.answers._lane.rest()
                if handle.answers._end.readable:
                    return False
        return True

    def _scan(self) -> bool:
        """Receive from all workers; True if anything has come."""
        heard = False
        for handle in self._handles:
            receiver = handle.answers
            with receiver._lock:
                end = receiver._end
                messages = end.take_all()
                over = not messages and end.readable  # the channel has ended
            if messages:
                heard = True
                handle.group.answered(handle, [end.unpack(message) for message in messages])
            elif over:
                heard = True
                self._end(handle)
        return heard

    def _end(self, handle: WorkerHandle) -> None:
        try:
            handle.answers.try_recv()
        except CmpiError as error:
            self._remove(handle)
            handle.group.ended(handle, error)

    def _remove(self, handle: WorkerHandle) -> None:
        with handle.answers._lock:
            handle.answers._end.changed.unwatch(self._wake)
        with self._changes:
            self._handles = tuple(each for each in self._handles if each is not handle)
