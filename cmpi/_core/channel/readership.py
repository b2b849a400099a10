"""Which thread reads a socket: the progress thread, or one that waits for what comes. Pure.

A waiting thread *claims* the socket for as long as it looks at it, or sleeps on it. Nobody else is woken
for its input meanwhile, so the claim must be given up before the thread does anything else: when its wait
ends, when it begins another wait within (in a finalizer), and before a signal handler runs in it.

Without a claim the progress thread reads. Either input wakes it (`watched`); or, where waiting threads come
back again and again, it looks every millisecond (`paced`), because waking it takes ten times as long as
reading a message, and delays the thread that comes back.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Readership:
    """Of one socket."""

    def __init__(self) -> None:
        self.open = False  # something may come
        self.claimant: Any = None  # the wait, or look, that reads
        self.paced = False  # the progress thread looks every millisecond, without being woken
        self._lively = False  # a waiting thread has read something since the progress thread last looked

    @property
    def watched(self) -> bool:
        """Whether input wakes the progress thread."""
        return self.open and self.claimant is None and not self.paced

    def opened(self) -> None:
        """There is a socket."""
        self.open = True

    def closed(self) -> None:
        """Nothing can come any more; a claim has no meaning."""
        self.open = self.paced = self._lively = False
        self.claimant = None

    def claim(self, reader: Any) -> bool:
        """This wait, or look, is about to read, or reads already; false if it is not to."""
        if self.open and self.claimant is None:
            self.claimant = reader
        return self.open and self.claimant is reader

    def give_up(self, reader: Any) -> None:
        """It reads no more. Without a claim this has no effect."""
        if self.claimant is reader:
            self.claimant = None

    def has_read(self) -> None:
        """A waiting thread has read something, whether it had a claim or not."""
        self._lively = True

    def looked(self) -> None:
        """The progress thread has looked, and is about to choose how long it sleeps. Only here can `paced`
        become true: so as long as it is, the progress thread sleeps for a millisecond at most."""
        self.paced, self._lively = self.open and self._lively, False

    def rest(self) -> None:
        """A thread waits without reading, and must be woken at once: so must the progress thread."""
        self.paced = False
