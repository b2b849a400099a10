"""Tells which shared libraries a process has loaded.

Sources: Linux dl_iterate_phdr(3), proc(5).
"""

from __future__ import annotations

import ctypes


class _Info(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("header_count", ctypes.c_uint16),
        ("loads", ctypes.c_ulonglong),
        ("unloads", ctypes.c_ulonglong),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Info), ctypes.c_size_t, ctypes.c_void_p)


def has_mpi(pid: int) -> bool:
    """Whether this process has loaded an MPI library; False if that cannot be seen."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            return b"/libmpi" in maps.read()
    except OSError:
        return False


def count() -> int:
    """How many libraries this process has ever loaded, including those inherited by fork."""
    found = [0]

    def look(info: ctypes._Pointer[_Info], size: int, data: object) -> int:
        found[0] = info.contents.loads
        return 1  # every entry has the same count

    ctypes.CDLL(None).dl_iterate_phdr(_CALLBACK(look), None)
    return found[0]
