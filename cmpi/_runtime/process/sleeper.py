"""Lets a thread sleep until a descriptor is readable or another thread releases it."""

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

# The longest sleep, because poll counts milliseconds in 32 bits; the caller sleeps again.
MOST_S: Final = 86_400.0


class Sleeper:
    """Replaces the lock on which a thread waits in `threading.Condition`: `notify` releases it.

    One thread at a time sleeps on it; any thread may release it. A release stays until a sleep has seen it:
    a release before the sleep is not lost, and one after the sleep needlessly ends the next sleep.

    Raises:
        OSError: There are no descriptors left.
    """

    def __init__(self) -> None:
        self.descriptors: Sequence[int] = ()  # input on these also ends the sleep
        self.readable: set[int] = set()  # the descriptors that ended the last sleep
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Sleep for at most `timeout` seconds; return whether `release` was called. Blocks: for that
        long."""
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
        """In a forked process, replace the event by a new one, which is released. The old one is shared
        with the parent, which would miss releases that were taken here."""
        own = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        os.dup2(own, self._event, inheritable=False)
        os.close(own)

    def close(self) -> None:
        """Close the event; nobody may be sleeping."""
        os.close(self._event)


def _poll(poll: select.poll, most_ms: float) -> list[int]:
    return [descriptor for descriptor, _ in poll.poll(most_ms)]


_signals: list[int] = []  # both ends of a pipe, once it was needed


def _poll_signals_too(poll: select.poll, most_ms: float) -> list[int]:
    """As `_poll`, in the main thread, where a signal must end the sleep.

    A signal that comes just before the system call, after Python's last check for signals, does not
    interrupt the call, so its Python handler would run only after the sleep. Python therefore also writes
    signals to a pipe. The pipe stays installed, because a handler's exception might prevent its removal.
    """
    if not _signals:
        _signals.extend(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    read, write = _signals
    with uncut:
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        if before not in (-1, write):  # it belongs to the program
            signal.set_wakeup_fd(before)
    poll.register(read, select.POLLIN)
    ready = _poll(poll, most_ms)
    if read in ready:
        os.read(read, 4096)
    return ready
