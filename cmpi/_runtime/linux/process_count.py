"""Computes how many more processes and threads the user, and this process's cgroup, may start.

Source: Linux getrlimit(2), "RLIMIT_NPROC"; `cgroup-v2.rst`, "PID".
"""

from __future__ import annotations

import os
import resource

from cmpi._runtime.linux import cgroup
from cmpi._runtime.linux.memory_usage import read

NO_LIMIT = 1 << 22  # Linux numbers no more processes than these
# Counting a user's processes means looking at every process of the host.
MANY = 30_000


def room() -> tuple[int, int]:
    """How many more there may be, and the limit."""
    return min([_of_user(), *map(_of_cgroup, cgroup.levels("") + cgroup.levels("pids"))])


def _of_user() -> tuple[int, int]:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() == 0 or limit == resource.RLIM_INFINITY or limit >= MANY:
        return NO_LIMIT, NO_LIMIT  # the superuser is never refused
    return limit - sum(map(_threads, filter(str.isdigit, os.listdir("/proc")))), limit


def _threads(pid: str) -> int:
    """The number of threads of a process, if it belongs to this user."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return 0
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0  # it has ended


def _of_cgroup(folder: str) -> tuple[int, int]:
    most, now = read(f"{folder}/pids.max").strip(), read(f"{folder}/pids.current").strip()
    if not most.isdigit() or not now.isdigit():
        return NO_LIMIT, NO_LIMIT
    return int(most) - int(now), int(most)
