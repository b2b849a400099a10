"""Ends all descendants of a process.

A subreaper becomes the parent of its descendants' orphans, so none escapes by daemonising. Each monitor is
a subreaper for its process, and cmpirun for the whole job, because MPI's launchers kill monitors.
"""

from __future__ import annotations

import ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Make this process a subreaper. Source: Linux prctl(2)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(on: bool = True) -> None:
    """Have the kernel kill this process when its parent ends, or no longer. Source: Linux prctl(2)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if on else 0)


def leave_group() -> None:
    """Leave the process group that MPI's launcher kills, because this process has to clean up first."""
    try:
        os.setsid()
    except PermissionError:
        pass  # it has a group of its own already


def have_children() -> bool:
    """Whether there are children; reaps those that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def end_all() -> str:
    """Kill all children, then the orphans that they leave, until there are none.

    Returns:
        A message about processes that cannot be killed because they belong to another user, such as a
        `sudo` and all its descendants; "" if there are none.

    Blocks: until they are reaped. Only for a subreaper.
    """
    foreign: set[int] = set()
    while have_children():
        ours = [pid for pid in _children() if pid not in foreign]
        if not ours:
            names = ", ".join(f"{pid} ({_command(pid)})" for pid in sorted(foreign))
            return f"cannot end processes that run as another user: {names}; they are still running"
        for pid in ours:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except PermissionError:
                foreign.add(pid)
            except (ProcessLookupError, ChildProcessError):
                pass  # reaped in the meantime
    return ""


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "?"


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    after_name = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # it has just ended
            if int(after_name[1]) == os.getpid():
                found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        print(f"cmpi: prctl({option}): {os.strerror(ctypes.get_errno())}", file=sys.stderr)
