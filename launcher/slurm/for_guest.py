"""A job in Slurm for one guest: `cmpi.Job(slurm=...)` has this cmpirun submit it, show its output, and see
to its end."""

from __future__ import annotations

import os
import select
import signal
import time

from cmpi._runtime.slurm_question import ask
from cmpi.launcher.slurm import follow

# The job ends by itself when its guest has left it. After this time, or if it has no guest yet, it is
# cancelled, again and again until it has ended.
LEAVE_S = 15.0
CANCEL_AGAIN_S = 5.0
_UP = b"cmpirun: up for its guest: "


def up(name: str) -> str:
    """The line by which the job says that it is up, and under which name it is found: "NODE:NAME"."""
    return f"{_UP.decode()}{name}"


def follow_to_end(job: str, watch: GuestWatch) -> int:
    """Follow the job, also when the guest is not there to read any more. Returns cmpirun's exit code."""
    while True:
        try:
            return follow.follow(job, watch=watch)
        except BrokenPipeError:
            for fd in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


class GuestWatch(follow.JobWatch):
    """Watches the guest, and its job's output for the line of `up`.

    Args:
        guest: The kernel's pid of the guest.
        ready: The descriptor to which the job's name is written.
    """

    def __init__(self, guest: int, ready: int) -> None:
        self._ready, self._told, self._cancel_s = ready, False, 0.0
        self._begun = b""  # a line of output, as far as it has come
        try:
            self._guest = os.pidfd_open(guest)
        except OSError:  # it has ended
            self._guest, self._told = -1, True
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._tell)

    def show(self, fd: int, data: bytes) -> bytes:
        """Look for the line, which is not shown."""
        if self._ready < 0 or fd != 1:
            return data
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            if line.startswith(_UP):
                os.write(self._ready, line.removeprefix(_UP) + b"\n")
                os.close(self._ready)
                self._ready = -1
        if self._ready < 0:
            lines, self._begun = [*lines, self._begun], b""
        else:
            lines.append(b"")
        return b"\n".join(line for line in lines if not line.startswith(_UP))

    def turn(self, job: str) -> None:
        """Cancel the job if it goes on without its guest."""
        now_s = time.monotonic()
        gone = self._told or bool(select.select([self._guest], [], [], 0)[0])
        if gone and not self._cancel_s:
            self._cancel_s = now_s + (0.0 if self._ready >= 0 else LEAVE_S)
        if gone and now_s >= self._cancel_s:
            ask("scancel", job)
            self._cancel_s = now_s + CANCEL_AGAIN_S

    def _tell(self, number: int, frame: object) -> None:
        self._told = True
