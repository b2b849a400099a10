"""Creates a cgroup in which the kernel limits the memory of one process, where that is possible.

It is created next to this process's own cgroup (version 2 only), because a cgroup that has processes cannot
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
from cmpi._transport import clock

MOUNT = "/sys/fs/cgroup"
_BOUNDS = ("cpu.max", "cpuset.cpus", "memory.high", "memory.max", "memory.swap.max")
REMOVE_S = 1.0
LOOK_AGAIN_S = 0.02


def levels(controller: str) -> list[str]:
    """Return the folders of this process's cgroup and of its ancestors, topmost first: for version 2 (""),
    or for a controller of version 1.

    Source: Linux cgroups(7), "/proc/[pid]/cgroup".
    """
    for line in read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            parts = [part for part in path.split("/") if part]
            return [os.path.join(MOUNT, controllers, *parts[:n]) for n in range(len(parts) + 1)]
    return []


class Cgroup:
    """A cgroup that this process has made."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def enter(self, pids: list[int]) -> None:
        """Move these processes into it, together with the processes that they will start.

        Blocks: never. The kernel takes some milliseconds, so a thread waits for it. Memory that they
        already use stays charged to the cgroup that they leave.
        """
        _thread.start_new_thread(self._enter, (pids,))

    def _enter(self, pids: list[int]) -> None:
        for pid in pids:
            _write(f"{self._folder}/cgroup.procs", str(pid))  # a failure means that it has ended

    @property
    def killed(self) -> bool:
        """Whether the kernel has killed them for exceeding their memory limit."""
        lines = read(f"{self._folder}/memory.events").splitlines()
        return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines)

    def remove(self) -> None:
        """Remove it if all its processes have ended; otherwise `remove_all` will."""
        _remove(self._folder)


def make(name: str, memory_bytes: int, cpu_weight: int) -> Cgroup | None:
    """Create a cgroup whose processes may use this much memory and no swap, and are killed together if they
    exceed that.

    Args:
        name: The name of its folder.
        memory_bytes: The limit of its memory.
        cpu_weight: 100 for a whole core. Needed because the kernel shares CPU among cgroups first: nice
            values count only within one.

    Returns None if no cgroup can be made here.
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
    _write(f"{folder}/memory.swap.max", "0")  # if there is swap
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
    """Remove the cgroups whose names begin with one of these prefixes.

    Blocks: while processes in one of them are ending, at most `REMOVE_S`.
    """
    _, home = _places()
    end_s = clock.now_s() + REMOVE_S
    try:
        names = [name for name in os.listdir(home) if name.startswith(tuple(prefixes))]
    except OSError:
        return  # there are no such cgroups
    for name in names:
        while not _remove(f"{home}/{name}") and clock.now_s() < end_s:
            time.sleep(LOOK_AGAIN_S)


def _places() -> tuple[str, str]:
    """This process's own cgroup, and its parent, in which others would be made.

    The topmost cgroup is both: it may have processes and children.
    """
    above = levels("") or ["/nowhere"]
    return above[-1], above[-2:][0]


def _open(own: str, home: str) -> bool:
    """Whether new cgroups in `home` can have memory limits, and a process that moves there escapes none."""
    control = f"{home}/cgroup.subtree_control"
    if "memory" not in read(control).split() and not (own == home and _write(control, "+memory")):
        return False
    bounds = (read(f"{own}/{name}").split()[:1] for name in _BOUNDS)
    return own == home or all(bound in ([], ["max"]) for bound in bounds)


def _remove(folder: str) -> bool:
    """Remove the cgroup; return whether it has no processes left."""
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
