"""Memory that two processes share through a file in the job's folder: one creates it, the other maps it.

`mmap.mmap` is not used, because it keeps a descriptor for each mapping (before Python 3.13 always). A
process shares memory with every process that it talks to, and a limit of 256 descriptors is common.

Large mappings use huge pages if the kernel supports that (Linux 6.1). Copying 8 MiB alternately into two
blocks takes 290 us there, and 440 us in pages of 4 KiB, which are too many for the processor's TLB.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import weakref

_PROT_READ_WRITE, _MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 3, 0x1, 0x2, 0x10, 0x20
_MADV_COLLAPSE = 25
HUGE_PAGE_BYTES = 2 << 20
LARGE_BYTES = 16 << 20  # files from this size on use huge pages
_FAILED = (None, ctypes.c_void_p(-1).value)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_spare = -1  # a descriptor in reserve, for when there are no others


def keep_spare() -> None:
    """Reserve a descriptor, so that `map_file` works even if the process has used up all others."""
    global _spare
    if _spare < 0:
        try:
            _spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # there is none


def map_file(path: str, nbytes: int | None) -> memoryview:
    """Map a file: create it with this size; or with None, map an existing one and unlink it, so that
    nothing is left when both processes have ended.

    It is unmapped when nothing refers to it any more. Slices of its `obj` are bytes, which takes half of
    the time.

    Raises:
        OSError: There is no room for the file; or it does not exist.
    """
    if nbytes is None:
        fd = _open(path, os.O_NOFOLLOW)
        try:
            memory = _map(fd, os.fstat(fd).st_size)
        finally:
            _close(fd)
        os.unlink(path)
        return memory
    fd = _open(path + "~", os.O_CREAT | os.O_EXCL)
    try:
        # Reserves the space now: a full file system then gives an error here, not a SIGBUS later.
        os.posix_fallocate(fd, 0, nbytes)
        memory = _map(fd, nbytes)
        os.rename(path + "~", path)  # so that no process sees an unfinished file
        return memory
    except OSError:
        os.unlink(path + "~")
        raise
    finally:
        _close(fd)


def _open(path: str, flags: int) -> int:
    global _spare
    flags |= os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or _spare < 0:
            raise
    os.close(_spare)
    _spare = -1
    return os.open(path, flags, 0o600)


def _close(fd: int) -> None:
    os.close(fd)
    keep_spare()


def collapse(address: int, nbytes: int) -> None:
    """Ask the kernel to use huge pages for this part of a mapping of at least `LARGE_BYTES`, which then
    counts as used. Blocks: about 0.3 ms per MiB that was not used before."""
    start = address // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    end = -(-(address + nbytes) // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    _libc.madvise(start, end - start, _MADV_COLLAPSE)


def _map(fd: int, nbytes: int) -> memoryview:
    where = _reserve(nbytes) if nbytes >= LARGE_BYTES else None
    flags = _MAP_SHARED if where is None else _MAP_SHARED | _MAP_FIXED
    address = _libc.mmap(where, nbytes, _PROT_READ_WRITE, flags, fd, 0)
    if address in _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot map {nbytes} bytes: {os.strerror(code)}")
    memory = (ctypes.c_char * nbytes).from_address(address)
    # Not unmapped at exit, because threads may still use it.
    weakref.finalize(memory, _libc.munmap, address, nbytes).atexit = False
    return memoryview(memory).cast("B")


def _reserve(nbytes: int) -> int | None:
    """A free address for a mapping of this size that begins with a huge page; None if there is none."""
    size = nbytes + HUGE_PAGE_BYTES
    base = _libc.mmap(None, size, 0, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
    if base in _FAILED:
        return None
    start: int = -(-base // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    end = start + -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    for begin, stop in ((base, start), (end, base + size)):
        if stop > begin:
            _libc.munmap(begin, stop - begin)
    return start
