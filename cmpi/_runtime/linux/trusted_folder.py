"""Checks whether other users could replace the contents of a folder.

A job's sockets, secret and rings are guarded by the modes of the folders that hold them. A user who can
write to one of their parent folders can replace what is in it, unless it has the sticky bit.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LINKS = 40  # Linux's own limit


def fault(path: str, lstat: Callable[[str], os.stat_result] = os.lstat, uid: int = -1) -> str:
    """Why other users could replace the contents of `path`; "" if they cannot.

    Checks every folder on the path, every symbolic link, and the folders that the links lead to.

    Args:
        path: A folder.
        lstat: Returns the status of a path.
        uid: The user whose job it is; by default this process's user.

    Raises: OSError: There is no such folder.
    """
    uid = os.geteuid() if uid < 0 else uid
    trusted = {0, uid, *_unknown_users()}
    todo = [part for part in os.path.abspath(path).split("/") if part][::-1]
    here, links = "/", 0
    while True:
        why = _writable(here, lstat(here), trusted)
        if why or not todo:
            return why
        part = todo.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        there = f"{here.rstrip('/')}/{part}"
        status = lstat(there)
        if not stat.S_ISLNK(status.st_mode):
            here = there
            continue
        if status.st_uid not in trusted:
            return f"{there} is a link that belongs to another user (uid {status.st_uid})"
        links += 1
        if links > _MAX_LINKS:
            return f"{path} leads through too many links"
        target = os.readlink(there)
        here = "/" if target.startswith("/") else here
        todo += [part for part in target.split("/") if part not in ("", ".")][::-1]


def _writable(folder: str, status: os.stat_result, trusted: set[int]) -> str:
    if status.st_uid not in trusted:
        return f"{folder} belongs to another user (uid {status.st_uid})"
    if status.st_mode & stat.S_ISVTX:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return f"{folder} is writable by everybody and does not have the sticky bit"
    if status.st_mode & stat.S_IWGRP and not _own_group(folder, status.st_gid):
        return f"{folder} is writable by its group and does not have the sticky bit"
    return ""


def _own_group(folder: str, gid: int) -> bool:
    """Whether only this user is in the group, as on the many systems that have a group for each user, and
    no access control list gives the group's rights to others."""
    import grp
    import pwd

    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
        me = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    try:
        os.getxattr(folder, "system.posix_acl_access")
    except OSError:
        return group.gr_name == me and set(group.gr_mem) <= {me}
    return False


def _unknown_users() -> set[int]:
    """In a user namespace: the one owner that files of all outside users appear to have."""
    with open("/proc/self/uid_map") as file:
        everybody = file.read().split() == ["0", "0", "4294967295"]
    if everybody:
        return set()
    with open("/proc/sys/kernel/overflowuid") as file:
        return {int(file.read())}


def unfit(folder: str) -> str:
    """Why no job's folder can be made in `folder`, in words; "" if one can."""
    try:
        return fault(folder) or ("" if os.access(folder, os.W_OK) else f"{folder} cannot be written")
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
