"""Files in the job's folder that describe the job's own processes on this host, named PID.pid.

Each process writes its file before it does anything else, so that the root notices if a process that it
waits for has ended.
"""

from __future__ import annotations

import contextlib
import os

SUFFIX = ".pid"


ROOT, COMPLETER, HOST_SPAWNER = "root", "spawn completer", "host spawner"


def start(number: int, rank: int) -> str:
    """Describe a process that MPI starts, by its start and rank."""
    return f"start {number} {rank}"


def start_number(what: str) -> int:
    """The number of the start in a description; -1 if there is none."""
    word, *numbers = what.split()
    return int(numbers[0]) if word == "start" else -1


def announce(folder: str, what: str, port: str = "", pid: int = 0) -> None:
    """Write a file for this process, or for `pid`, which was just started; `port` completes its spawn."""
    with contextlib.suppress(OSError):  # the job is over, and its folder removed
        path = f"{folder}/{pid or os.getpid()}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(fd, f"{what}\n{port}".encode())
        os.close(fd)


def withdraw(folder: str) -> None:
    """Remove this process's file, because it ends normally."""
    with contextlib.suppress(OSError):
        os.unlink(f"{folder}/{os.getpid()}{SUFFIX}")


def announced(folder: str) -> dict[int, str]:
    """The descriptions in the files by process id, with the ports on the next line; some processes have
    ended."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(SUFFIX):
                with contextlib.suppress(OSError, ValueError), open(f"{folder}/{name}") as file:
                    found[int(name.removesuffix(SUFFIX))] = file.read()
    return found


def is_starting(folder: str, number: int) -> bool:
    """Whether a process that MPI has started for this start is running, even if it has no file yet: its
    command line has the number, and its environment names the folder."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            with open(f"/proc/{name}/cmdline", "rb") as file:
                argv = file.read().split(b"\0")
            if b"%d" % number in argv and any(b"spawn_stub" in word for word in argv):
                with open(f"/proc/{name}/environ", "rb") as file:
                    if os.fsencode(folder) in file.read():
                        return True
    return False


def runs(pid: int) -> bool:
    """Whether this process exists and has not ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
