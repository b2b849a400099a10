"""The folder of a job on one host, which is removed with the job."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile

PREFIX = "cmpi-data-"


class SpillFolder:
    """A job's own folder. It is created when it is first needed, and removed by `close`.

    Args:
        parent: Where to create it.

    The folder is locked as long as this process lives. A folder left by a process that was killed is
    unlocked, and the next job with the same parent removes it.
    """

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._path = ""
        self._lock = -1

    @property
    def path(self) -> str:
        """The path of the folder. Raises: OSError: It cannot be created."""
        if not self._path:
            remove_stale(self._parent)
            while not self._make():
                pass
        return self._path

    def _make(self) -> bool:
        """Create the folder; False if another process took it for stale and removed it before it was
        locked."""
        path = tempfile.mkdtemp(prefix=PREFIX, dir=self._parent)
        lock = os.path.join(path, "lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not os.path.exists(lock):
            os.close(self._lock)
            return False
        self._path = path
        return True

    def close(self) -> None:
        """Remove the folder and its contents."""
        if self._path:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._path = ""


def remove_stale(parent: str) -> None:
    """Remove this user's folders in `parent` whose processes have ended."""
    for folder in glob.glob(os.path.join(glob.escape(parent), f"{PREFIX}*")):
        try:
            if os.lstat(folder).st_uid != os.getuid():
                continue
            lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
