"""Finds files that a job has left behind, even while other jobs run on the same machine."""

from __future__ import annotations

import os
import time

from cmpi._runtime.linux.leftovers import session_folder, singleton_runs

_NAMES = ("cmpi-", "ompi.")


def files() -> set[str]:
    """The files in shared memory, and those of cmpi and Open MPI in the temporary folder."""
    temporary = os.environ.get("TMPDIR", "/tmp")
    names = {f"{temporary}/{name}" for name in os.listdir(temporary) if name.startswith(_NAMES)}
    return names | {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")}


def leftovers(before: set[str], limit_s: float = 2.0) -> list[str]:
    """The files that are new since `before`, persist, and are not used by any living process.

    Args:
        before: What `files` returned before the job.
        limit_s: How long a file may take to disappear, in seconds.

    Blocks: until no such file is left, at most `limit_s`.
    """
    end_s = time.monotonic() + limit_s
    left = files() - before
    while left:
        left = _unused({path for path in left if os.path.lexists(path)})
        if time.monotonic() > end_s:
            break
        time.sleep(0.02)
    return sorted(left)


def _unused(paths: set[str]) -> set[str]:
    """The paths that no living process maps, has open or names in its environment. The folder of Open MPI
    processes that were started without a launcher is in use as long as there is such a process."""
    if session_folder() in paths and singleton_runs():
        paths = paths - {session_folder()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if not paths:
            break
        used = _uses(pid)
        paths = {path for path in paths if path.encode() not in used}
    return paths


def _uses(pid: str) -> bytes:
    text = b""
    for name in ("environ", "maps", "cmdline"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                text += file.read()
        except OSError:
            continue
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return text
    for number in descriptors:
        try:
            text += os.readlink(f"/proc/{pid}/fd/{number}").encode() + b"\n"
        except OSError:
            continue
    return text
