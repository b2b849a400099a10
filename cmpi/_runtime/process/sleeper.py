"""What a thread sleeps on until a descriptor is readable or another thread releases it."""

from __future__ import annotations

import os
import select
import signal
from _thread import get_ident

from cmpi._runtime.process.signal_guard import MAIN, uncut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

MOST_S: Final = 86_400.0  # of one sleep, for poll counts milliseconds in 32 bits; the caller sleeps again


class Sleeper:
    """Takes the place of the lock that `threading.Condition` gives a waiting thread: `notify` releases it.

    One thread at a time sleeps on it; any may release it. A release stays until a sleep has seen it: one
    that comes before the sleep is not lost, and one that comes behind it ends the next sleep in vain.

    Raises:
        OSError: There are no descriptors left.
    """

    def __init__(self) -> None:
        self.descriptors: Sequence[int] = ()  # readable input ends the sleep too
        self.readable: set[int] = set()  # those that had ended the last sleep
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Sleep for at most `timeout` seconds; whether `release` was called. Blocks: for that long."""
        poll = select.poll()
        poll.register(self._event, select.POLLIN)
        for descriptor in self.descriptors:
            poll.register(descriptor, select.POLLIN)
        most_s = MOST_S if timeout < 0 else min(timeout, MOST_S)
        most_ms = most_s * 1000 if blocking else 0
        self.readable = set(
            _poll_signals_too(poll, most_ms) if get_ident() == MAIN else _poll(poll, most_ms)
        )
        released = self._event in self.readable
        if released:
            os.eventfd_read(self._event)
        return released

    def release(self) -> None:
        """End the sleep."""
        os.eventfd_write(self._event, 1)

    def part(self) -> None:
        """In a forked process: have an event of its own, which is released. The other one is shared with
        the parent, which would miss releases that are taken here."""
        own = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        os.dup2(own, self._event, inheritable=False)
        os.close(own)

    def close(self) -> None:
        """Give its descriptor back; nobody sleeps."""
        os.close(self._event)


def _poll(poll: select.poll, most_ms: float) -> list[int]:
    return [descriptor for descriptor, _ in poll.poll(most_ms)]


_signals: list[int] = []  # a pipe: its ends, once it was needed


def _poll_signals_too(poll: select.poll, most_ms: float) -> list[int]:
    """As `_poll`, in the main thread, where a signal ends the sleep.

    One that comes just before the system call does not interrupt it, and its Python handler would run when
    the sleep is over: Python has checked for signals by then. So Python writes it to a pipe, too, which
    stays in place, because a handler's exception might keep it from being taken away.
    """
    if not _signals:
        _signals.extend(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    read, write = _signals
    with uncut:
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        if before not in (-1, write):  # the program's own
            signal.set_wakeup_fd(before)
    poll.register(read, select.POLLIN)
    ready = _poll(poll, most_ms)
    if read in ready:
        os.read(read, 4096)
    return ready
