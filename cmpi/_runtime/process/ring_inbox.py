"""Receives from one peer through a ring: decides which thread polls it, and when its writer has to ring.

Ringing and being woken costs ten times as much as a message. A waiting thread therefore polls for a while
itself; if many messages come for which no thread waits, the progress thread polls every millisecond.
"""

from __future__ import annotations

from cmpi._core.channel.backoff import Backoff
from cmpi._runtime.process.fragments import LONG, PIECE, Assembly
from cmpi._transport import ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    from cmpi._runtime.process.connection_host import ConnectionHost
    from cmpi.identifiers import Pid

SPIN_S: Final = 150e-6  # of a reader: as long as it takes to fall asleep and be woken
SPINS: Final = 4  # of one who looks on
MOST_FRAMES: Final = 4096  # to be heard at once


class RingInbox:
    """Receives from one peer through its ring. Guarded by the node's lock.

    Args:
        path: Of the ring, which the peer makes with its first frame.
        host: This process.
        pid: The peer.
        deliver: Is called with each frame that comes, and its buffers.
        hear_small: Called with each message that is a single pickle, after the number of its channel;
            returns whether somebody waited for it.
    """

    def __init__(
        self,
        path: str,
        host: ConnectionHost,
        pid: Pid,
        deliver: Callable[[Any, Sequence[Any]], None],
        hear_small: Callable[[int, bytes], bool],
    ) -> None:
        self._path, self._host, self._pid, self._hear_small = path, host, pid, hear_small
        self.reader: ring.RingReader | None = None
        self._unmapped = False  # there is a ring, which could not be mapped
        self._freed = False
        self._assembly = Assembly(deliver, host.nudge)
        self.watched = False  # the progress thread looks every millisecond: the writer need not ring
        self._awaited = False  # somebody slept until the last frames came
        self._worth_it = Backoff()  # to look on
        self._position = 0  # when the progress thread last looked

    @property
    def stalled(self) -> bool:
        """True if the ring cannot be mapped, for want of descriptors."""
        return self._unmapped or (self.reader is not None and self.reader.stalled)

    @property
    def restless(self) -> bool:
        """True if looking again soon is worth it."""
        return self._assembly.under_way or self.stalled

    @property
    def position(self) -> int:
        """Bytes that were ever taken out."""
        return 0 if self.reader is None else self.reader.position

    def map(self) -> None:
        """Map the ring, if there is one."""
        if self.reader is None and not self._freed and self._host.shared_memory:
            try:
                self.reader = ring.RingReader(self._path)
                self._unmapped = False
                self._host.watch(self._pid)
            except FileNotFoundError:
                pass
            except OSError:
                self._unmapped = True

    def look(self, spin_s: float = SPIN_S) -> bool:
        """Look for so long, in the caller's thread, and hear what comes. False if nothing did; then the
        writer will ring for what follows. Blocks: for that long, with the lock."""
        reader = self.reader
        if reader is None:
            return False
        reader.wait(spin_s)
        if self._read(reader):
            if not self.watched:  # the caller may not come back soon
                self.watched = True
                self._host.nudge()
            return True
        self.watched = False
        return self._fall_asleep(reader)

    def glance(self) -> None:
        """Hear what is there already."""
        if self.reader is not None:
            self._read(self.reader)

    def scan(self) -> bool:
        """Hear what is there, for a caller that looks at many rings and will look again, or call `rest`.

        The writer does not ring meanwhile. True if something came."""
        reader = self.reader
        if reader is None:
            return False
        reader.wait(0.0)
        self.watched = True
        return self._read(reader)

    def rest(self) -> None:
        """Somebody will wait without looking: have the writer ring for what follows."""
        if self.watched and self.reader is not None:
            self.watched = False
            self._fall_asleep(self.reader)

    def look_on(self, ready: Callable[[], bool]) -> None:
        """Look for half a millisecond more, until `ready()`, unless that was in vain the last times.

        The next of a stream of large messages comes while its sender copies. Who sees it at once, and lets
        go of it soon, gives its place back in time for the next: to copy 8 MiB into the same place again
        takes three quarters of the time that another takes. Blocks: for that long, with the lock, but other
        threads may have it, and the interpreter's, between two looks.
        """
        reader = self.reader
        if reader is None or not self._worth_it.due:
            return
        for _ in range(SPINS):
            reader.wait(SPIN_S)
            if self._read(reader) and ready():
                self._worth_it.tried(True)
                return
            self._host.lock.let_others()
            if self._freed:
                return
        self._worth_it.tried(False)
        self.look(0.0)  # which falls asleep

    def progress(self) -> bool:
        """Hear what is there, in the progress thread, and either let the writer ring for what follows, or
        look again by and by, if much comes for which nobody waits. True if something came."""
        if self._unmapped:
            self.map()
        reader = self.reader
        if reader is None:
            return False
        moved = self._read(reader)
        position, before = reader.position, self._position
        self._position = position
        self.watched = position != before and not self._awaited
        if self.watched:
            reader.wait(0.0)
        else:
            moved |= self._fall_asleep(reader)
        return moved

    def _fall_asleep(self, reader: ring.RingReader) -> bool:
        """Have the writer ring for what comes next; True if something came before that."""
        moved = False
        while not reader.sleep() and not reader.stalled:
            moved |= self._read(reader)
        return moved

    def _read(self, reader: ring.RingReader) -> bool:
        """Hear what is there, though not for ever."""
        self._awaited = False
        for i in range(MOST_FRAMES):
            body = reader.take()
            if body is None:
                return i > 0
            tag = reader.tag
            if tag < LONG:
                if self._hear_small(tag, body):
                    self._awaited = True
            else:
                self._awaited |= tag != PIECE
                self._assembly.take(tag, body)
        return True

    def free(self) -> None:
        """Let go of the memory."""
        self._freed, self.watched, self.reader = True, False, None
