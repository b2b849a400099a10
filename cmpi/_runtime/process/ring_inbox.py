"""Receives from one peer through a ring, and decides which thread polls it and when its writer must ring.

Ringing and waking cost ten times as much as a message. A waiting thread therefore polls for a while itself;
if many messages arrive that no thread waits for, the progress thread polls every millisecond.
"""

from __future__ import annotations

from cmpi._core.channel.backoff import Backoff
from cmpi._runtime.process.fragments import LONG, Assembly
from cmpi._transport import ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    from cmpi._runtime.process.connection_host import ConnectionHost
    from cmpi.identifiers import Pid

SPIN_S: Final = 150e-6  # for which a reader polls: as long as falling asleep and being woken takes
SPINS: Final = 4  # such periods in `look_on`
MOST_FRAMES: Final = 4096  # to be taken in without a break


class RingInbox:
    """Receives from one peer through its ring. Guarded by the node's lock.

    Args:
        path: The path of the ring, which the peer creates with its first frame.
        host: This process.
        pid: The peer.
        deliver: Called with each frame that arrives, and its buffers.
        on_small: Called with each message that is a single pickle, after the number of its channel;
            returns whether somebody waited for it.
    """

    def __init__(
        self,
        path: str,
        host: ConnectionHost,
        pid: Pid,
        deliver: Callable[[Any, Sequence[Any]], None],
        on_small: Callable[[int, bytes], bool],
    ) -> None:
        self._path, self._host, self._pid, self._on_small = path, host, pid, on_small
        self.reader: ring.RingReader | None = None
        self._unmapped = False  # there is a ring that could not be mapped
        self._freed = False
        self._assembly = Assembly(deliver, host.nudge)
        self.watched = False  # the progress thread looks every millisecond, so the writer need not ring
        self._awaited = False  # the last frames arrived for a thread that slept
        self._worth_it = Backoff()  # whether to look on
        self._position = 0  # when the progress thread last looked

    @property
    def stalled(self) -> bool:
        """True if the ring cannot be mapped for lack of descriptors."""
        return self._unmapped or (self.reader is not None and self.reader.stalled)

    @property
    def restless(self) -> bool:
        """True if it is worth looking again soon."""
        return self._assembly.under_way or self.stalled

    @property
    def position(self) -> int:
        """Number of bytes taken from the ring so far."""
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
        """Look for this long, in the caller's thread, and take in what arrives. If nothing does, return
        False, and the writer will ring for what follows. Blocks: for that long, with the lock held."""
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
        """Take in what is there."""
        if self.reader is not None:
            self._read(self.reader)

    def scan(self) -> bool:
        """Take in what is there, for a caller that looks at many rings and will look again, or call `rest`.

        Until then the writer does not ring. True if there was something."""
        reader = self.reader
        if reader is None:
            return False
        reader.wait(0.0)
        self.watched = True
        return self._read(reader)

    def rest(self) -> None:
        """A thread will sleep without looking: have the writer ring for what follows."""
        if self.watched and self.reader is not None:
            self.watched = False
            self._fall_asleep(self.reader)

    def look_on(self, ready: Callable[[], bool]) -> None:
        """Look for another half millisecond, until `ready()`, unless that was in vain the last times.

        In a stream of large messages, the next one arrives after the time of a copy. A receiver that sees
        it at once and releases it soon frees its place in time for the one after: copying 8 MiB into the
        same place again takes three quarters of the time that another place takes. Blocks: for that long,
        with the lock held, but between two looks other threads may have it, and the GIL.
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
        self.look(0.0)  # and have the writer ring

    def progress(self) -> bool:
        """Take in what is there, in the progress thread. Then either have the writer ring for what follows
        or, if much arrives that nobody waits for, look again every millisecond. True if there was
        something."""
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
        """Have the writer ring for what comes next; True if something came before that took effect."""
        moved = False
        while not reader.sleep() and not reader.stalled:
            moved |= self._read(reader)
        return moved

    def _read(self, reader: ring.RingReader) -> bool:
        """Take in what is there, up to `MOST_FRAMES`."""
        self._awaited = False
        for i in range(MOST_FRAMES):
            body = reader.take()
            if body is None:
                return i > 0
            tag = reader.tag
            if tag < LONG:
                if self._on_small(tag, body):
                    self._awaited = True
            else:
                self._awaited |= tag != ring.PIECE
                self._assembly.take(tag, body)
        return True

    def free(self) -> None:
        """Release the memory."""
        self._freed, self.watched, self.reader = True, False, None
