"""Reads mpiexec's output: keeps the launcher's messages, and passes on the output of processes."""

from __future__ import annotations

import os
import select

from cmpi._runtime.linux.write_all import write_all
from cmpi._transport import clock
from cmpi.launcher.mpi.launcher_noise import LauncherNoise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOISE_BYTES = 65536  # of messages, kept in case the job cannot start
AHEAD_BYTES = 1 << 20  # of output that may wait to be printed
QUIET_S = 0.02  # at the end of a job, no more output is expected after such a pause
DECIDE_S = 0.5  # time for the rest of a launcher's message to arrive


class MpiexecOutput:
    """Reads mpiexec's stdout and stderr, and the pipe that cmpi's own processes write to.

    Args:
        out, err: The pipes of mpiexec's stdout and stderr.
        own: The pipe of cmpi's own processes; it never reaches its end, since cmpirun also holds its
            writing side.
        verbose: Whether to show the messages at once.
    """

    def __init__(self, out: int, err: int, own: int, *, verbose: bool) -> None:
        self._own, self._verbose = own, verbose
        self._numbers = {out: 1, err: 2}
        self._sorting = {1: LauncherNoise(), 2: LauncherNoise()}
        self._decide_s: float | None = None
        self._ahead, self._passed = 0, False
        self.noise = b""  # the last NOISE_BYTES of messages
        # Called with output of processes: the number of its descriptor, and the bytes.
        self.pass_on: Callable[[int, bytes], None] | None = None
        for fd in (out, err, own):
            os.set_blocking(fd, False)

    def register(self, poll: select.poll) -> None:
        """Register the descriptors that are to be read with `poll`."""
        poll.register(self._own, select.POLLIN)
        for fd in self._numbers if self._ahead < AHEAD_BYTES else ():
            poll.register(fd, select.POLLIN)

    @property
    def deadline_s(self) -> float | None:
        """When to call `serve` even if no descriptor is ready."""
        return self._decide_s

    def serve(self, ready: set[int]) -> None:
        """Read what is available. Blocks: only to write messages to a slow terminal."""
        if self._own in ready and (data := _read(self._own)):
            self.keep(data)
        for fd, number in list(self._numbers.items()):
            if fd in ready and (data := _read(fd)) is not None:
                self._sort(number, data)
                self._decide_s = None  # bytes that are undecided now have only just come
                if not data:
                    os.close(fd)
                    del self._numbers[fd]
        if self._decide_s is not None and clock.now_s() >= self._decide_s:
            for number in self._sorting:
                self._sort(number, b"")
        undecided = any(each.undecided for each in self._sorting.values())
        if not undecided:
            self._decide_s = None
        elif self._decide_s is None:
            self._decide_s = clock.now_s() + DECIDE_S

    def read_all(self) -> None:
        """Read all that is available, however much. Blocks: for `QUIET_S`, if there was any output."""
        poll = select.poll()
        for fd in (self._own, *self._numbers):
            poll.register(fd, select.POLLIN)
        while ready := {fd for fd, _ in poll.poll(QUIET_S * 1000 if self._passed else 0)}:
            before = set(self._numbers)
            self.serve(ready)
            for fd in before - set(self._numbers):
                poll.unregister(fd)
        self._decide_s = 0.0
        self.serve(set())

    def hold(self) -> None:
        """Stop reading output of processes, so that the root can first print what it has."""
        self._ahead = AHEAD_BYTES

    def root_has_left(self) -> None:
        """The root has printed all its output and left; later output is printed here."""
        self.pass_on, self._ahead = self._print, 0

    def drain(self) -> None:
        """Read and print all that is available, since the root has left.

        If the job never began, keep everything as messages instead.
        """
        if self.pass_on is not None:
            self.root_has_left()
        self.read_all()

    def _print(self, number: int, data: bytes) -> None:
        _write(number, data)
        self._ahead = 0

    def taken(self, nbytes: int) -> None:
        """The root has printed this many bytes of what was passed on."""
        self._ahead -= nbytes

    def keep(self, data: bytes) -> None:
        """Keep a message of the launcher or of cmpi's own processes."""
        self.noise = (self.noise + data)[-NOISE_BYTES:]
        if self._verbose:
            _write(2, data)

    def _sort(self, number: int, data: bytes) -> None:
        shown, noise = self._sorting[number].feed(data)
        if self.pass_on is None:  # the job has not begun
            shown, noise = b"", shown + noise
        if noise:
            self.keep(noise)
        if shown and self.pass_on is not None:
            self._ahead, self._passed = self._ahead + len(shown), True
            self.pass_on(number, shown)


def why_ended(said: str) -> str:
    """Why ranks will not come up, when their mpiexec has ended and said this."""
    return f"MPI's launcher said:\n{said}" if said else "mpiexec ended"


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _write(fd: int, data: bytes) -> None:
    """Write to a descriptor; if that fails, drop the data."""
    try:
        write_all(fd, data)
    except OSError:
        pass
