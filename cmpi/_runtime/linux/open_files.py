"""The limit of open files, and how many more a process may open."""

from __future__ import annotations

import os
import resource

ENOUGH = 1 << 16  # not the millions that are allowed: some programs look at every number below their limit


def raise_limit() -> int:
    """Raise the soft limit of this process, which its children inherit, to the hard one; returns the old
    one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


def restore_limit(soft: int) -> None:
    """Restore the limit that `raise_limit` returned."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def room(pid: int) -> tuple[int, int]:
    """How many more files a process can open, and its limit. Raises: OSError: the process has ended."""
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = ENOUGH
    return limit - len(os.listdir(f"/proc/{pid}/fd")), limit
