"""Threads that wait for what comes by sockets, and read it themselves.

Such a thread claims the sockets (see `readership`) and sleeps in a poll of its own on them and on a
`Sleeper`, without the node's lock. What ends the wait otherwise (an exit notice, a closed end, an abort,
another thread that has read the message) notifies the condition, as for any wait, and that releases it.

No wake-up is lost:

- Whoever reads a socket reads until the kernel has no more, before it lets go of the lock. So what came
  and was not heard is in the kernel, where poll and epoll see it whenever they begin to sleep (both are
  level-triggered). It does not matter whether it came before or behind the claim, or its end.
- A release stays in the sleeper until a poll has seen it. The thread is among the condition's waiters from
  before it lets go of the lock, and looks at `ready` with the lock: what becomes true later releases it.
- A claim is held with the lock, or by a thread that is about to poll, or polls. Between these nothing of
  the program's own runs but signal handlers and finalizers: before a handler runs the thread gives its
  claims up (`signal_guard.before`), and so it does when it waits in either.
- A thread ends, or is left by an exception, only through the `finally` that gives its claims up. A daemon
  thread that the interpreter's end freezes is frozen after this process has left the job.
- A forked process has no part in it, and leaves sockets, events and epoll to its parent (`forked`).
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
        """What comes through one socket (`SocketInbox`)."""

        @property
        def descriptor(self) -> int:
            """Of the socket; -1 if nothing can come."""

        def claim(self, reader: SocketWait) -> bool:
            """Have nobody else woken for what comes; false if another thread reads, or nothing can come."""

        def give_up(self, reader: SocketWait) -> None:
            """Have others woken again, if this reader has the claim."""

        def scan(self) -> bool:
            """Hear what is there already; true if something came."""


class SocketWait:
    """One wait of one thread, for what comes by any of these sockets. Guarded by the node's lock."""

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
            # Each time anew: a socket may have been closed, or its claim given up for a signal handler, or
            # by another thread.
            claimed = [inbox for inbox in self._inboxes if inbox.claim(self)]
            sleeper.descriptors = [inbox.descriptor for inbox in claimed]
            changed.wait(left_s, sleeper)
            for inbox in claimed:
                if inbox.descriptor in sleeper.readable:
                    inbox.scan()
        return done

    def give_up(self) -> None:
        """Have the progress thread woken again for what comes."""
        for inbox in self._inboxes:
            inbox.give_up(self)


class SocketWaits:
    """Of all threads of this process. Guarded by the node's lock."""

    def __init__(self, lock: NodeLock) -> None:
        self._lock = lock
        self._idle: list[Sleeper] = []
        self._innermost: dict[int, SocketWait] = {}  # by thread

    def wait_for(
        self,
        inboxes: Sequence[Inbox],
        changed: ChannelCondition,
        ready: Callable[[], Any],
        timeout_s: float | None,
    ) -> Any:
        """As `changed.wait_for`, but reading these sockets in the caller's thread, as far as no other does.

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
        """A signal handler is about to run in this thread, the main one, for however long."""
        wait = self._innermost.get(get_ident())
        if wait is not None:
            with self._lock:
                wait.give_up()

    def forked(self) -> None:
        """This process was forked from the one that waits."""
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
        """This process has left the job: nobody waits any more."""
        while self._idle:
            self._idle.pop().close()
