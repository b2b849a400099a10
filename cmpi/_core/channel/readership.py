"""Decides which thread reads a socket: the progress thread, or a thread that waits for its input. Pure.

A waiting thread *claims* the socket for as long as it polls it or sleeps on it. Meanwhile no other thread
is woken for its input, so the thread must give up the claim before it does anything else: when its wait
ends, when it begins another wait inside this one (in a finalizer), and before a signal handler runs in it.

Without a claim, the progress thread reads. Usually input wakes it (`watched`). If waiting threads keep
coming back, it looks every millisecond instead (`paced`), because waking it takes ten times as long as
reading a message, and delays the thread that comes back.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Readership:
    """The readership of one socket."""

    def __init__(self) -> None:
        self.open = False  # there may be input
        self.claimant: Any = None  # the wait, or look, that has the claim
        self.paced = False  # the progress thread looks every millisecond, without being woken
        self._lively = False  # a waiting thread has read something since the progress thread last looked

    @property
    def watched(self) -> bool:
        """Whether input must wake the progress thread."""
        return self.open and self.claimant is None and not self.paced

    def opened(self) -> None:
        """There is a socket from now on."""
        self.open = True

    def closed(self) -> None:
        """There will be no more input, and a claim has no meaning."""
        self.open = self.paced = self._lively = False
        self.claimant = None

    def claim(self, reader: Any) -> bool:
        """Let this wait, or look, claim the socket; return whether it has the claim now."""
        if self.open and self.claimant is None:
            self.claimant = reader
        return self.open and self.claimant is reader

    def give_up(self, reader: Any) -> None:
        """Give up the claim, if this reader has it."""
        if self.claimant is reader:
            self.claimant = None

    def has_read(self) -> None:
        """A waiting thread has read something, with or without a claim."""
        self._lively = True

    def looked(self) -> None:
        """The progress thread has looked, and is about to choose how long to sleep. `paced` becomes true
        only here, so while it is true, the progress thread never sleeps for more than a millisecond."""
        self.paced, self._lively = self.open and self._lively, False

    def rest(self) -> None:
        """A thread waits without reading and must be woken at once; so the progress thread must be woken at
        once, too."""
        self.paced = False
