"""Translates a grant of resources into limits of its process: memory, priority, threads. Pure."""

from __future__ import annotations

from cmpi._base.units import CPU_UNIT, format_memory

MODES = ("none", "warn", "kill")
NONE, WARN, KILL = 0, 1, 2  # what to do about excessive memory; indices into MODES
LEAST_NICE, MOST_NICE = 0, 19
# An interpreter with MPI and numpy uses 10 to 40 MiB before it does anything. A process that asks for less
# means "next to nothing", and is not ended for exceeding that.
LEAST_ENFORCED_BYTES = 64 << 20
# Pauses between looks at the memory, while less than half of the limit is used, or more; and the longest,
# while usage stays as it is. A look costs 0.2 ms, which a hundred idle processes should not pay.
FAR_S, NEAR_S, IDLE_S = 0.5, 0.05, 2.0
STEPS = 64  # of the limit; a smaller change counts as none
# Libraries read these when they are loaded, to decide how many threads to start.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def enforcement(mode: str, *, asked: bool) -> int:
    """Decide what to do about a process that uses more memory than it was granted.

    Args:
        mode: One of MODES, or "" if cmpirun was not given one.
        asked: Whether the process asked for an amount; otherwise it has no limit.
    """
    if not asked:
        return NONE
    return MODES.index(mode) if mode else KILL


def niceness(cpu_units: int) -> int:
    """The nice value that gives a process this fraction of a core, in competition with processes of nice 0.

    Blocks: never. Source: Linux `kernel/sched/core.c`, `sched_prio_to_weight`: 1.25 times for each step.

    >>> niceness(CPU_UNIT), niceness(CPU_UNIT // 2), niceness(CPU_UNIT // 16), niceness(0)
    (0, 3, 12, 19)
    """
    share, nice = float(cpu_units), LEAST_NICE
    while share * 1.12 < CPU_UNIT and nice < MOST_NICE:
        share, nice = share * 1.25, nice + 1
    return nice


def weight(cpu_units: int) -> int:
    """The cgroup weight that gives a process this share, where 100 stands for a whole core.

    Source: Linux `cgroup-v2.rst`, "cpu.weight".

    >>> weight(CPU_UNIT), weight(CPU_UNIT // 16), weight(0), weight(200 * CPU_UNIT)
    (100, 6, 1, 10000)
    """
    return min(max(1, 100 * cpu_units // CPU_UNIT), 10_000)


def kernel_bound(limit_bytes: int) -> int:
    """The memory limit to set in the kernel for a process that may use `limit_bytes`.

    It is larger, because the kernel also counts cached file pages, and charges shared memory to the process
    that touched it first. The monitor catches slow growth before that; the kernel's limit is for growth
    that is too fast for the monitor.

    >>> kernel_bound(100 << 20) >> 20
    189
    """
    return limit_bytes + limit_bytes // 4 + (64 << 20)


def threads(cpu_units: int) -> int:
    """How many threads a library should start for this much CPU.

    >>> threads(CPU_UNIT // 16), threads(5 * CPU_UNIT // 2)
    (1, 2)
    """
    return max(1, cpu_units // CPU_UNIT)


class MemoryWatch:
    """Decides, once, what to do about a process that uses more than `limit_bytes`.

    >>> watch = MemoryWatch(1 << 20, KILL)
    >>> watch.seen(2 << 20), watch.seen(65 << 20), watch.seen(99 << 20)
    (0, 2, 0)
    """

    def __init__(self, limit_bytes: int, enforce: int) -> None:
        self.limit_bytes = max(limit_bytes, LEAST_ENFORCED_BYTES)
        self._left = enforce
        self._changed_bytes, self._pause_s = 0, FAR_S

    @property
    def watching(self) -> bool:
        """False once there is nothing more to decide."""
        return self._left != NONE

    def pause_s(self, used_bytes: int) -> float:
        """How long to wait before the next look, if this much is used now (or at most this much).

        >>> watch = MemoryWatch(64 << 30, KILL)
        >>> [watch.pause_s(n) for n in (40 << 20, 40 << 20, 2 << 30, 33 << 30, 33 << 30)]
        [1.0, 2.0, 0.5, 0.05, 0.1]
        """
        if abs(used_bytes - self._changed_bytes) > self.limit_bytes // STEPS:
            self._changed_bytes = used_bytes
            self._pause_s = NEAR_S if used_bytes > self.limit_bytes // 2 else FAR_S
        else:
            self._pause_s = min(2 * self._pause_s, IDLE_S)
        return self._pause_s

    def seen(self, used_bytes: int) -> int:
        """Return what to do if the process uses this much now, or NONE."""
        if used_bytes <= self.limit_bytes:
            return NONE
        todo, self._left = self._left, NONE
        return todo


def over(limit_bytes: int, used_bytes: int, at: str) -> str:
    """Describe the excess in words.

    >>> over(100 << 20, 412 << 20, "12:00:03")
    'asked 100 MiB, used 412 MiB at 12:00:03'
    """
    return f"asked {format_memory(limit_bytes)}, used {format_memory(used_bytes)} at {at}"
