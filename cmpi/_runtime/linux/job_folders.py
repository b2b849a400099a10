"""The folders of this user's jobs on this host, and the names that the jobs were given."""

from __future__ import annotations

import os

PREFIX = "cmpi-"
_NAME = "name"  # the file with a job's name
_SHOWN = 10


def above() -> str:
    """Where jobs have their folders."""
    return os.environ.get("TMPDIR", "/tmp")


def give_name(folder: str, name: str) -> None:
    """Give a job a name besides that of its folder. Raises: OSError."""
    with open(f"{folder}/{_NAME}", "x") as file:
        file.write(name)


def name(folder: str) -> str:
    """What to call the job that has this folder."""
    try:
        with open(f"{folder}/{_NAME}") as file:
            return file.read()
    except OSError:
        return os.path.basename(folder)


def mine() -> list[str]:
    """The folders of this user's jobs here. What another user has put there is not looked into."""
    found = []
    for entry in os.listdir(above()):
        path = f"{above()}/{entry}"
        try:
            if entry.startswith(PREFIX) and os.lstat(path).st_uid == os.geteuid():
                found.append(path)
        except OSError:
            continue  # gone meanwhile
    return sorted(path for path in found if os.path.exists(f"{path}/secret"))


def find(wanted: str) -> list[str]:
    """The folders of the jobs that have this name, or whose folder it names."""
    if "/" in wanted:
        return [os.path.abspath(wanted)]
    return [path for path in mine() if wanted in (name(path), os.path.basename(path))]


def names() -> str:
    """What jobs there are, in words."""
    known = [name(path) for path in mine()]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{', '.join(known[:_SHOWN])}{more}" or "none"
