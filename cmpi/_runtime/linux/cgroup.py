"""Creates a cgroup for one process, in which the kernel limits its memory, where that is possible.

It is created beside this process's own cgroup, in version 2, because a cgroup that has processes cannot
have children with memory limits. This is done only if our own cgroup has no limits, since a process that
moves to the new one escapes them.

Source: Linux `cgroup-v2.rst`, "No Internal Process Constraint", "Delegation Containment", "Memory Interface
Files".
"""

from __future__ import annotations

import _thread
import errno
import os
import time

from cmpi._runtime.linux.memory_usage import read

MOUNT = "/sys/fs/cgroup"
_BOUNDS = ("cpu.max", "cpuset.cpus", "memory.high", "memory.max", "memory.swap.max")
REMOVE_S = 1.0
LOOK_AGAIN_S = 0.02


def levels(controller: str) -> list[str]:
    """The folders of this process's cgroup and of all above it, the topmost first: that of version 2 (""),
    or that of a controller of version 1.

    Source: Linux cgroups(7), "/proc/[pid]/cgroup".
    """
    for line in read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            parts = [part for part in path.split("/") if part]
            return [os.path.join(MOUNT, controllers, *parts[:n]) for n in range(len(parts) + 1)]
    return []


class Cgroup:
    """One that was made, and `remove` removes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def enter(self, pids: list[int]) -> None:
        """Move these processes into it, with the processes that they start from now on.

        Blocks: never. The kernel takes some milliseconds, so a thread waits for it. What they have in
        memory already stays counted where they were.
        """
        _thread.start_new_thread(self._enter, (pids,))

    def _enter(self, pids: list[int]) -> None:
        for pid in pids:
            _write(f"{self._folder}/cgroup.procs", str(pid))  # if not: it has ended

    @property
    def killed(self) -> bool:
        """Whether the kernel has ended them, for more memory than it gave."""
        lines = read(f"{self._folder}/memory.events").splitlines()
        return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines)

    def remove(self) -> None:
        """Remove it, if all in it have ended; else `remove_all` will."""
        _remove(self._folder)


def make(name: str, memory_bytes: int, cpu_weight: int) -> Cgroup | None:
    """Create a cgroup whose processes may use so much memory and no swap, and are killed together beyond
    it.

    Args:
        name: Of its folder.
        memory_bytes: Its bound.
        cpu_weight: 100 for a whole core; where the kernel shares CPU among cgroups, nice values count only
            within each.

    Returns None if none can be made here.
    """
    own, home = _places()
    if not _open(own, home) or not os.access(f"{home}/cgroup.procs", os.W_OK):
        return None
    folder = f"{home}/{name}"
    try:
        os.mkdir(folder)
    except OSError:
        return None
    if not _write(f"{folder}/memory.max", str(memory_bytes)):
        _remove(folder)
        return None
    _write(f"{folder}/memory.oom.group", "1")
    _write(f"{folder}/memory.swap.max", "0")  # where there is swap
    _write(f"{folder}/cpu.weight", str(cpu_weight))  # where the controller is enabled
    _write(
        f"{folder}/pids.max", read(f"{own}/pids.max")
    )  # if the controller is enabled; systemd sets a limit for all
    return Cgroup(folder)


def can_be_made() -> bool:
    """Whether `make` would succeed."""
    trial = make(f"cmpi-{os.urandom(6).hex()}", 1 << 30, 100)
    if trial is not None:
        trial.remove()
    return trial is not None


def remove_all(prefixes: list[str]) -> None:
    """Remove those whose names begin with one of these.

    Blocks: as long as somebody in one is just ending, at most `REMOVE_S`.
    """
    _, home = _places()
    end_s = time.monotonic() + REMOVE_S
    try:
        names = [name for name in os.listdir(home) if name.startswith(tuple(prefixes))]
    except OSError:
        return  # no such cgroups
    for name in names:
        while not _remove(f"{home}/{name}") and time.monotonic() < end_s:
            time.sleep(LOOK_AGAIN_S)


def _places() -> tuple[str, str]:
    """This process's own cgroup, and the one above it, in which others would be made.

    The topmost is both: it may have processes and others below it.
    """
    above = levels("") or ["/nowhere"]
    return above[-1], above[-2:][0]


def _open(own: str, home: str) -> bool:
    """Whether new cgroups there can have memory limits, and a process that moves there escapes no
    limits."""
    control = f"{home}/cgroup.subtree_control"
    if "memory" not in read(control).split() and not (own == home and _write(control, "+memory")):
        return False
    bounds = (read(f"{own}/{name}").split()[:1] for name in _BOUNDS)
    return own == home or all(bound in ([], ["max"]) for bound in bounds)


def _remove(folder: str) -> bool:
    """Whether there is no process in it."""
    try:
        os.rmdir(folder)
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def _write(path: str, text: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
