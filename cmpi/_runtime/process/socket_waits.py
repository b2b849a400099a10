"""Threads that wait for input from sockets, and read it themselves.

Such a thread claims the sockets (see `readership`) and sleeps in a poll of its own on them and on a
`Sleeper`, without the node's lock. Everything else that ends the wait (an exit notice, a closed end, an
abort, another thread that has read the message) notifies the condition, as in any wait, and that releases
the sleeper.

No wake-up is lost:

- A thread that reads a socket reads until the kernel has no more, before it releases the lock. So input
  that was not taken in is in the kernel, where poll and epoll see it whenever they begin to sleep (both are
  level-triggered). It does not matter whether it arrived before or after the claim, or its end.
- A release stays in the sleeper until a poll has seen it. The thread is among the condition's waiters
  before it releases the lock, and checks `ready` with the lock held: whatever becomes true later releases
  it.
- A claim is held with the lock, or by a thread that is polling or about to poll. Between these, only signal
  handlers and finalizers of the program can run. Before a handler runs, the thread gives up its claims
  (`signal_guard.before`), and it does so, too, if it waits in either.
- A thread leaves its wait, even by an exception, only through the `finally` that gives up its claims. A
  daemon thread that the interpreter's end freezes is frozen after this process has left the job.
- A forked process has no part in this, and leaves sockets, events and epoll to its parent (`forked`).
"""

from __future__ import annotations

import time
from _thread import get_ident

from cmpi._runtime.process.sleeper import Sleeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.node_lock import NodeLock

    class Inbox(Protocol):
        """Receives through one socket (`SocketInbox`)."""

        @property
        def descriptor(self) -> int:
            """The socket's descriptor; -1 if there will be no more input."""

        def claim(self, reader: SocketWait) -> bool:
            """Claim the socket, so that no other thread is woken for its input; False if another thread has
            the claim, or there will be no more input."""

        def give_up(self, reader: SocketWait) -> None:
            """Give up the claim, if this reader has it, so that other threads are woken again."""

        def scan(self) -> bool:
            """Take in what has arrived; True if there was anything."""


class SocketWait:
    """One wait of one thread, for input from any of these sockets. Guarded by the node's lock."""

    def __init__(self, inboxes: Sequence[Inbox], sleeper: Sleeper) -> None:
        self._inboxes, self.sleeper = inboxes, sleeper

    def until(self, changed: ChannelCondition, ready: Callable[[], Any], timeout_s: float | None) -> Any:
        """As `changed.wait_for`. Blocks: for that long, without the lock."""
        sleeper = self.sleeper
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not (done := ready()):
            left_s = None if end_s is None else end_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            # In each round: a socket may have been closed, or its claim given up for a signal handler or by
            # another thread.
            claimed = [inbox for inbox in self._inboxes if inbox.claim(self)]
            sleeper.descriptors = [inbox.descriptor for inbox in claimed]
            changed.wait(left_s, sleeper)
            for inbox in claimed:
                if inbox.descriptor in sleeper.readable:
                    inbox.scan()
        return done

    def give_up(self) -> None:
        """Give up all claims, so that the progress thread is woken for input again."""
        for inbox in self._inboxes:
            inbox.give_up(self)


class SocketWaits:
    """The socket waits of all threads of this process. Guarded by the node's lock."""

    def __init__(self, lock: NodeLock) -> None:
        self._lock = lock
        self._idle: list[Sleeper] = []
        self._innermost: dict[int, SocketWait] = {}  # by thread: its innermost wait

    def wait_for(
        self,
        inboxes: Sequence[Inbox],
        changed: ChannelCondition,
        ready: Callable[[], Any],
        timeout_s: float | None,
    ) -> Any:
        """As `changed.wait_for`, but reads these sockets in the caller's thread, unless another thread
        does.

        Blocks: for that long, without the lock.
        """
        sleeper = self._new_sleeper()
        if sleeper is None:  # no descriptors are left: the progress thread reads
            return changed.sleep_for(ready, timeout_s)
        thread = get_ident()
        outer = self._innermost.get(thread)
        if outer is not None:
            outer.give_up()
        wait = self._innermost[thread] = SocketWait(inboxes, sleeper)
        try:
            return wait.until(changed, ready, timeout_s)
        finally:
            wait.give_up()
            if outer is None:
                self._innermost.pop(thread, None)
            else:
                self._innermost[thread] = outer
            self._idle.append(sleeper)

    def interrupted(self) -> None:
        """A signal handler is about to run in this thread, the main thread, and may take long."""
        wait = self._innermost.get(get_ident())
        if wait is not None:
            with self._lock:
                wait.give_up()

    def forked(self) -> None:
        """This process was forked from the waiting one."""
        for wait in self._innermost.values():
            wait.sleeper.part()
        self._innermost.clear()

    def _new_sleeper(self) -> Sleeper | None:
        if self._idle:
            return self._idle.pop()
        try:
            return Sleeper()
        except OSError:
            return None

    def close(self) -> None:
        """Close the idle pollers: this process has left the job."""
        while self._idle:
            self._idle.pop().close()
