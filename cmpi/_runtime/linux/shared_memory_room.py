"""Chooses the folder for shared memory, and words the messages about a /dev/shm that is too small."""

from __future__ import annotations

import os
import signal

from cmpi._base.units import format_memory
from cmpi._runtime.linux import trusted_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEV_SHM: Final = "/dev/shm"
# The arrays in flight between a few pairs of processes can fill less than this. A container has 64 MiB.
ENOUGH_BYTES: Final = 256 << 20
# MPICH creates a segment there for each world; a process that finds no room for its own dies by SIGBUS.
FULL_BYTES: Final = 1 << 20
INIT_FAILED: Final = 15  # the exit code of MPICH if MPI_Init fails: MPI_ERR_OTHER
FIX: Final = (
    "in a container: docker run --shm-size=2g, or --ipc=host; else: mount -o remount,size=50% /dev/shm"
)


def free_bytes() -> int | None:
    """The free room in /dev/shm, in bytes; None if it cannot be written to."""
    try:
        if not os.access(DEV_SHM, os.W_OK):
            return None
        room = os.statvfs(DEV_SHM)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def folder(name: str, temporary: str) -> str:
    """The folder for shared memory: in /dev/shm; in the temporary folder where /dev/shm is small, or where
    other users could put a folder of theirs in the place of ours.

    Mapped files of the temporary folder are as fast while they stay in the page cache: docs/performance.md
    has figures. The kernel writes them to the disk eventually, but most are unlinked long before.
    """
    free = free_bytes()
    fit = free is not None and free >= ENOUGH_BYTES and not trusted_folder.fault(DEV_SHM)
    return f"{DEV_SHM if fit else temporary}/{name}"


def lack(kind: str) -> str:
    """Why there is too little shared memory for this MPI to start a process; "" if there is enough."""
    free = free_bytes()
    if kind != "mpich" or (free is not None and free >= FULL_BYTES):
        return ""
    found = "cannot be written to" if free is None else f"is full: {format_memory(free)} are free"
    return f"{DEV_SHM} {found}, and MPICH needs some of it for each process ({FIX})"


def blame(code: int, number: int, kind: str) -> str:
    """The verdict on a process that ended with this exit code or signal, if lack of shared memory was the
    cause; else ""."""
    return lack(kind) if number == signal.SIGBUS or code == INIT_FAILED else ""
