"""Finds out whether a thread that Python does not know may call into Python.

Some libraries that nearly every process loads keep threads of their own: BLAS and OpenMP, which compute
only when asked, and MPI, which never calls Python by itself. Another library's thread (for a sound card, a
camera, a database, a timer) may call back at any time.

The stack shows which library a thread belongs to: all code addresses on it, down to the function that the
thread was started with, lie in that library or in libc.

Source: proc(5), `/proc/pid/task/tid/syscall` and `/proc/pid/mem`.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

WORKERS = (
    *("libscipy_openblas", "libopenblas", "libblis", "libmkl", "libgomp", "libiomp", "libomp"),
    *("libmpi", "libpmix", "libprrte", "libopen-", "libevent", "libhwloc", "libfabric"),
    *("libucs", "libucp", "libuct", "libucm"),
)
RUNTIME = ("libc.so", "libc-", "libpthread", "ld-linux", "[vdso]")
MOST_BYTES = 1 << 16  # of a stack are examined; an idle worker thread uses some 5 KiB


def may_call_back(known: Collection[int]) -> bool:
    """Whether a thread that Python does not know may call into Python by itself.

    Args:
        known: Ids, as by `threading.get_native_id`, of threads known not to do so.

    True if it cannot be found out. Blocks: never; takes some 0.3 ms if there are such threads.
    """
    foreign = [tid for tid in map(int, os.listdir("/proc/self/task")) if tid not in known]
    if not foreign:
        return False
    try:
        regions = _regions()
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return not all(_works_when_asked(tid, regions, memory) for tid in foreign)
    finally:
        os.close(memory)


def timers() -> bool:
    """Whether this process has POSIX timers (`timer_create`); False if the kernel does not tell."""
    try:
        with open("/proc/self/timers") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _regions() -> list[tuple[int, int, bool, str]]:
    """The address space: begin, end, whether it has code, and the file that it maps."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            parts = line.split(None, 5)
            begin, _, end = parts[0].partition("-")
            name = os.path.basename(parts[5].strip()) if len(parts) > 5 else ""
            found.append((int(begin, 16), int(end, 16), "x" in parts[1], name))
    return found


def _works_when_asked(tid: int, regions: list[tuple[int, int, bool, str]], memory: int) -> bool:
    try:
        with open(f"/proc/self/task/{tid}/syscall") as file:
            words = file.read().split()
        top = int(words[-2], 16)  # the stack pointer
        end = next(end for begin, end, _, _ in regions if begin <= top < end)
        stack = os.pread(memory, min(end - top, MOST_BYTES) // 8 * 8, top)
    except FileNotFoundError:
        return True  # it has ended
    except (OSError, ValueError, IndexError, StopIteration):
        return False  # it is running, or cannot be examined
    code = [(begin, end, name) for begin, end, is_code, name in regions if is_code]
    first, last = code[0][0], code[-1][1]
    addresses = {word for (word,) in struct.iter_unpack("Q", stack) if first <= word < last}
    libraries = {name for begin, end, name in code if any(begin <= word < end for word in addresses)}
    workers = {name for name in libraries if name.startswith(WORKERS)}
    return bool(workers) and all(name.startswith(RUNTIME) for name in libraries - workers)
