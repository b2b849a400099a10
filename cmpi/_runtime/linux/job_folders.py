"""The folders of this user's jobs on this host, and the jobs' names."""

from __future__ import annotations

import os

from cmpi.errors import LaunchError

PREFIX = "cmpi-"
_ABOUT = "about"  # the file with a job's name, and in the lines below what it runs
_SHOWN = 10


def above() -> str:
    """The folder in which jobs have their folders."""
    return os.environ.get("TMPDIR", "/tmp")


def describe(folder: str, name: str, runs: str) -> None:
    """Write down the job's name ("": its folder's) and what it runs, in its new folder. Raises: OSError."""
    with open(f"{folder}/{_ABOUT}", "x", errors="surrogateescape") as file:
        file.write(f"{name or os.path.basename(folder)}\n{runs}")


def about(folder: str) -> tuple[str, str, float]:
    """The job's name, what it runs, and when it started, in seconds since 1970."""
    try:
        with open(f"{folder}/{_ABOUT}", errors="surrogateescape") as file:
            name, _, runs = file.read().partition("\n")
            return name, runs, os.fstat(file.fileno()).st_mtime
    except OSError:
        return os.path.basename(folder), "", 0.0  # it is just ending


def name(folder: str) -> str:
    """The name of the job with this folder."""
    return about(folder)[0]


def machine_and_name(name: str) -> tuple[str, str]:
    """The machine and the name there of a job or deployment; a machine of "" is this one.

    >>> machine_and_name("me@h2:lab/3f2a001"), machine_and_name("lab"), machine_and_name("/tmp/a:b")
    (('me@h2', 'lab/3f2a001'), ('', 'lab'), ('', '/tmp/a:b'))
    """
    host, colon, there = name.partition(":")
    return (host, there) if colon and host and "/" not in host else ("", name)


def mine() -> list[str]:
    """The folders of this user's jobs here; those of other users are never read."""
    found = []
    for entry in os.listdir(above()):
        path = f"{above()}/{entry}"
        try:
            if entry.startswith(PREFIX) and os.lstat(path).st_uid == os.geteuid():
                found.append(path)
        except OSError:
            continue  # removed in the meantime
    return sorted(path for path in found if os.path.exists(f"{path}/{_ABOUT}"))


def find(wanted: str) -> list[str]:
    """The folders of jobs with this name, or the folder that `wanted` is the path of."""
    if "/" in wanted:
        return [os.path.abspath(wanted)]
    return [path for path in mine() if wanted in (name(path), os.path.basename(path))]


def the_one(wanted: str) -> str:
    """The folder of the only job that `find` finds. Raises: LaunchError: There is none, or more than
    one."""
    found = find(wanted)
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} jobs are called" if found else "no job of yours on this host is called"
    known = [name(path) for path in mine()]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    raise LaunchError(f"{what} {wanted!r}; there are: {', '.join(known[:_SHOWN]) or 'none'}{more}")
