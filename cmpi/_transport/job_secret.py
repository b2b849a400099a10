"""The job's secret: 32 random bytes in one file of mode 0600 in the job's folder.

Processes find it through the folder. It is in no environment, because `ps e`, crash reports and a
launcher's verbose output show the environment, and forked processes keep it for ever. In memory it lies in
a page of its own, which is excluded from core dumps and is empty in a forked process.
"""

from __future__ import annotations

import mmap
import os

NBYTES = 32
NAME = "secret"
_MADV_WIPEONFORK = 18  # Linux 4.14; Python has no name for it


class JobSecret:
    """The secret in memory, until `forget`. The keyed hash reads `key` in place and leaves no copy."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.key = memoryview(self._page)[:NBYTES]
        for advice in (mmap.MADV_DONTDUMP, _MADV_WIPEONFORK):
            try:
                self._page.madvise(advice)
            except OSError:
                pass  # the kernel does not support it: the page is like any other

    def fill(self, path: str) -> None:
        """Read the secret from a file. Raises: OSError."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            nbytes = os.readv(fd, [self.key])
        finally:
            os.close(fd)
        if nbytes != NBYTES:
            raise OSError(f"{path} holds {nbytes} bytes, not the {NBYTES} of a secret")

    def forget(self) -> None:
        """Return the page to the kernel; the secret is then no longer in this process."""
        self.key.release()
        self._page.close()


def create(folder: str) -> JobSecret:
    """Create the secret of a new job, and its file. Raises: OSError."""
    secret = JobSecret()
    secret.fill("/dev/urandom")
    write(folder, secret.key)
    return secret


def write(folder: str, key: bytes | memoryview) -> None:
    """Write the file of a secret that was made elsewhere. Raises: OSError."""
    fd = os.open(f"{folder}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)


def read(folder: str) -> JobSecret:
    """The secret of the job that has this folder. Raises: OSError."""
    secret = JobSecret()
    try:
        secret.fill(f"{folder}/{NAME}")
    except OSError:
        secret.forget()
        raise
    return secret
