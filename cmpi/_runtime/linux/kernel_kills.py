"""Whether the kernel has killed a process for lack of memory."""

from __future__ import annotations

from cmpi._runtime.linux.cgroup import levels
from cmpi._runtime.linux.memory_usage import read


def count() -> int:
    """How many processes of this process's cgroup the kernel has killed for lack of memory, there or on the
    whole machine. If the kernel does not count them by cgroup: how many on this machine, or 0.

    Source: Linux `cgroup-v2.rst`, memory.events; `cgroup-v1/memory.rst`, memory.oom_control.
    """
    own = [f"{folder}/memory.oom_control" for folder in levels("memory")[-1:]]
    own += [f"{folder}/memory.events" for folder in levels("")[-1:]]
    for path in (*own, "/proc/vmstat"):
        for line in read(path).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
