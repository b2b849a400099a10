"""A condition variable for threads, event loops and `select`. Not compiled: mailboxes derive from it."""

from __future__ import annotations

import sys
import threading
from _thread import allocate_lock, get_ident

from cmpi._runtime.process import signal_guard
from cmpi._runtime.process.running_loop import running_loop
from cmpi.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable
    from typing import Any, Final

    from cmpi._runtime.process.sleeper import Sleeper
    from cmpi._runtime.process.wait_registry import Wait

_modules: Final = sys.modules


class ChannelCondition(threading.Condition):
    """A condition to be used like `threading.Condition`. Except `until`, all methods need its lock held.

    Args:
        lock: The condition's lock.
        rest: Called when a thread or task is about to wait, before its last look.
    """

    def __init__(self, lock: Any, rest: Callable[[], None] = lambda: None) -> None:
        super().__init__(lock)
        self.lock = lock
        self.rest = rest
        self._watchers: list[Callable[[], None]] = []
        self.waiters = 0  # threads and watchers

    def wait(self, timeout: float | None = None, sleeper: Sleeper | None = None) -> bool:
        """As in `threading`. If a signal handler raises, the lock is consistently held or released, and the
        thread is no longer a waiter.

        Args:
            timeout: Longest wait in seconds; None waits for ever.
            sleeper: What the thread sleeps on, which may end the sleep early; None: a lock.

        Raises:
            UsageError: The lock was taken twice: releasing it would show others an unfinished state.
        """
        main = get_ident() == signal_guard.MAIN
        uncut = signal_guard.uncut
        sleeping_on: Any = sleeper
        if sleeping_on is None:
            sleeping_on = allocate_lock()
            sleeping_on.acquire()
        sleepers: Any = self._waiters  # type: ignore[attr-defined]  # those whom `notify` wakes
        sleepers.append(sleeping_on)
        self.waiters += 1
        woken: bool = False
        depth = uncut.depth
        if main:
            uncut.depth = 1
        state = self.lock._release_save()
        try:
            if state[0] > 1:
                raise UsageError(
                    "a finalizer called cmpi while its thread was inside another call of cmpi, and would "
                    "have to wait. Have the finalizer pass the work to another thread."
                )
            if main:
                uncut.depth = 0  # handlers may run while it sleeps
                if signal_guard.put_off:
                    signal_guard.call_put_off()
            if timeout is None:
                woken = sleeping_on.acquire()
            else:
                woken = sleeping_on.acquire(True, timeout) if timeout > 0 else sleeping_on.acquire(False)
        finally:
            if main:
                uncut.depth = 1
            self.lock._acquire_restore(state)
            if main:
                uncut.depth = depth
            self.waiters -= 1
            if sleeping_on in sleepers:
                sleepers.remove(sleeping_on)
        return bool(woken)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """As in `threading`."""
        self.rest()
        return self.sleep_for(predicate, timeout)

    def sleep_for(self, predicate: Callable[[], Any], timeout: float | None) -> Any:
        """As `wait_for`, for a caller that has already called `rest`."""
        return super().wait_for(predicate, timeout)

    def notify_all(self) -> None:
        """Wake the threads, and call the watchers, in this thread."""
        if self.waiters:
            super().notify_all()
            for watcher in tuple(self._watchers):
                watcher()

    def stir(self) -> bool:
        """As `notify_all`; return whether there was a waiter."""
        self.notify_all()
        return True

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called at every change; it must not block or call this condition."""
        self._watchers.append(watcher)
        self.waiters += 1

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Stop calling the watcher."""
        self._watchers.remove(watcher)
        self.waiters -= 1

    async def until(self, wait: Wait) -> None:
        """Wait until `wait.ready()`, which is called with the lock held; call this without it.

        Meanwhile the loop sleeps on its own descriptor. Cancelling only stops the wait. `ready` may no
        longer be true when this returns: check again with the lock held, and act at once.
        """
        with self.lock:
            self.rest()
            if wait.ready():
                return
        import asyncio

        loop = asyncio.get_running_loop()
        with wait:
            while True:
                with self.lock:
                    self.rest()
                    if wait.ready():
                        return
                    future: Future[None] = loop.create_future()

                    def wake(future: Future[None] = future) -> None:
                        _call(loop, future)

                    self.watch(wake)
                try:
                    await future
                finally:
                    with self.lock:
                        self.unwatch(wake)


class UncutCondition(ChannelCondition):
    """A condition with its own lock. In its `with` block, signal handlers wait (except while it sleeps), so
    that their exceptions leave nothing half done, as in the blocks of a `NodeLock`."""

    def __init__(self) -> None:
        super().__init__(threading.RLock())

    def __enter__(self) -> bool:
        signal_guard.uncut.__enter__()
        return self.lock.acquire()  # type: ignore[no-any-return]

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        signal_guard.uncut.__exit__()


def _call(loop: AbstractEventLoop, future: Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_finish, future)
    except RuntimeError:
        pass  # the loop was closed while its tasks were waiting


def _finish(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def refuse_in_loop(call: str, twin: str) -> None:
    """Refuse to block an event loop.

    Raises:
        UsageError: This thread runs one; the message names the async twin. Not raised in a notebook, whose
            loop waits for the running cell anyway.
    """
    if running_loop() is not None and "ipykernel" not in _modules:
        raise UsageError(f"{call} would block the event loop that runs in this thread; use {twin}")
