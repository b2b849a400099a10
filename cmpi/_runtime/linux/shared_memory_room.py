"""Where the processes of a host share memory, and what is said where there is too little of it."""

from __future__ import annotations

import os
import signal

from cmpi._base.units import format_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEV_SHM: Final = "/dev/shm"
# Channels of large arrays and MPI's own segments: some pairs of processes fill it. A container has 64 MiB.
ENOUGH_BYTES: Final = 256 << 20
# For the segment that MPICH makes there for each world; a process that finds no room is killed by SIGBUS.
FULL_BYTES: Final = 1 << 20
MEND: Final = (
    "in a container: docker run --shm-size=2g, or --ipc=host; else: mount -o remount,size=50% /dev/shm"
)


def free_bytes() -> int | None:
    """What is free in /dev/shm; None: it cannot be used."""
    try:
        if not os.access(DEV_SHM, os.W_OK):
            return None
        room = os.statvfs(DEV_SHM)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def folder(name: str, temporary: str) -> str:
    """The folder for shared memory: in /dev/shm, or where that is small in the temporary folder.

    Files there are mapped as well, and as fast while there is memory: an array of 8 MiB goes at the same
    speed, by a socket at half of it, or a tenth if it is large. Only the kernel writes them to the disk by
    and by, if they live that long.
    """
    free = free_bytes()
    return f"{DEV_SHM if free is not None and free >= ENOUGH_BYTES else temporary}/{name}"


def lack(kind: str) -> str:
    """What MPI lacks to start a process on this host, as far as shared memory goes; "" if nothing."""
    free = free_bytes()
    if kind != "mpich" or (free is not None and free >= FULL_BYTES):
        return ""
    found = "cannot be written to" if free is None else f"is full: {format_memory(free)} are free"
    return f"{DEV_SHM} {found}, and MPICH needs some of it for each process ({MEND})"


def blame(number: int, kind: str) -> str:
    """Why this signal may have ended a process, if it is for lack of shared memory; else ""."""
    return lack(kind) if number == signal.SIGBUS else ""
