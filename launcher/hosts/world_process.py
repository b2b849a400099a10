"""An mpiexec that starts a world on several hosts."""

from __future__ import annotations

import os
import select
import signal

from cmpi.launcher.mpi.start_mpiexec import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOISE_BYTES = 16384


class WorldProcess:
    """The mpiexec, and what it says.

    Args:
        argv: Its command line.
        environment: Its environment.
        noise: Called with what it says.
    """

    def __init__(
        self, argv: list[str], environment: dict[str, str], noise: Callable[[bytes], None]
    ) -> None:
        self._said, write = os.pipe2(os.O_CLOEXEC)
        self._pid = start(argv, environment, write, write)
        os.close(write)
        self._pidfd = os.pidfd_open(self._pid)
        self._noise, self._last = noise, b""

    @property
    def descriptors(self) -> tuple[int, int]:
        """What to poll."""
        return self._pidfd, self._said

    def has_ended(self, ready: set[int]) -> bool:
        """Serve these descriptors, those that are ready; True if mpiexec has ended. Blocks: never."""
        if self._said in ready:
            self._hear()
        return self._pidfd in ready

    def end(self) -> str:
        """Kill it, if it has not ended; returns what it has said last. Blocks: never for long."""
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self._pid, 0)
        while select.select([self._said], [], [], 0)[0] and self._hear():
            pass
        os.close(self._said)
        os.close(self._pidfd)
        return self._last.decode("utf-8", "replace").strip()

    def _hear(self) -> bool:
        data = os.read(self._said, 65536)
        self._last = (self._last + data)[-NOISE_BYTES:]
        self._noise(data)
        return bool(data)
