"""Measures the memory of a process and its descendants, and reads what the kernel killed.

Source: Linux proc(5).
"""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """The process and its descendants that are running."""
    found = [pid]
    for each in found:
        try:
            tasks = os.listdir(f"/proc/{each}/task")
        except OSError:
            continue  # it has ended in the meantime
        for task in tasks:
            found += map(int, read(f"/proc/{each}/task/{task}/children").split())
    return found


def resident_bytes(pids: list[int]) -> int:
    """Resident memory, with shared pages counted for each process: an upper bound that is cheap to read."""
    return sum(int(words[1]) * _PAGE for pid in pids if (words := read(f"/proc/{pid}/statm").split()))


def proportional_bytes(pids: list[int]) -> int:
    """Resident memory, with shared pages divided among the processes that share them; 1 ms each."""
    total = 0
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
    return total


def available_bytes() -> int:
    """How much memory this host has for new processes without swapping; a huge number if it does not
    tell."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62


def core_dump(pid: int) -> str:
    """Where the kernel has put the core dump of a process that has just ended, in words.

    Source: Linux core(5), "Naming of core dump files".
    """
    import re  # most processes do not need it

    pattern = read("/proc/sys/kernel/core_pattern").strip() or "core"
    if pattern.startswith("|"):
        return f"handed to {pattern[1:].split()[0]}"
    known = {"%": "%", "p": str(pid), "P": str(pid), "h": os.uname().nodename, "u": str(os.getuid())}
    name = re.sub("%(.)", lambda found: known.get(found[1], "*"), pattern)
    if "p" not in re.findall("%(.)", pattern) and read("/proc/sys/kernel/core_uses_pid").strip() == "1":
        name += f".{pid}"
    return name if name.startswith("/") else f"{name}, in its working directory"


def read(path: str) -> str:
    """The contents of this file; "" if it cannot be read, for example because its process has ended."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
