"""Applies a grant of resources to this process: cores, priority, threads."""

from __future__ import annotations

import ctypes
import os

from cmpi._core import limits
from cmpi._core.job import rank_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_set: dict[str, str] = {}  # variables that cmpi has set in this process's environment
blas_threads = 0  # of numpy's library, when it was loaded; 0: not known


def take_up(cores: list[int], nice: int, threads: int, environment: MutableMapping[str, str]) -> None:
    """Bind this process to these cores ([]: leave it as it is), and set its nice value and thread counts.

    Affinity and nice value apply to the calling thread and the threads that it starts later. Thread
    settings that are in the environment are kept, unless cmpi has set them.
    """
    if cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError:
            pass  # the job's own limits have changed: keep what there is
    if nice > os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        try:
            # Every process has its own session, and Linux shares CPU among sessions first.
            with open("/proc/self/autogroup", "w") as file:
                file.write(str(nice))
        except OSError:
            pass  # the kernel does not do this
    for name in limits.THREAD_VARIABLES:
        if name not in environment:
            environment[name] = _set[name] = str(threads)
            if name == "OPENBLAS_NUM_THREADS" and threads != blas_threads:
                _tell_openblas(threads)


def add_ours(settings: list[str], environment: MutableMapping[str, str]) -> None:
    """Set those of the "NAME=value" settings that are `fitting`, for this process but not for those that it
    spawns."""
    ours = rank_variables.fitting(settings, environment)
    environment.update(ours)
    _set.update(ours)


def are_ours(environment: Mapping[str, str]) -> None:
    """Note that the monitor has set these variables: processes spawned from here do not inherit them."""
    _set.update(environment)


def not_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that cmpi has set: a child has its own grant and its own
    world."""
    return {name: value for name, value in environment.items() if _set.get(name) != value}


def _tell_openblas(threads: int) -> None:
    """Set the threads of numpy's own library, which is already loaded and no longer reads the
    environment."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[5] for line in maps if "openblas" in line}
    for path in paths:
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_",
                     "scipy_openblas_set_num_threads", "openblas_set_num_threads"):  # fmt: skip
            if hasattr(library, name):
                getattr(library, name)(threads)
