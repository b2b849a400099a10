"""Files by which one process of a user sends pickles to another, in a folder where others may write."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def open_own(path: str) -> BinaryIO:
    """Open a file for reading if it belongs to this user: unpickling another user's file would run that
    user's code.

    Raises:
        OSError: There is no such file.
        PermissionError: It belongs to another user.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    owner = os.fstat(fd).st_uid
    if owner != os.geteuid():
        os.close(fd)
        raise PermissionError(
            f"{path} belongs to another user (uid {owner}), who may have put it in the place of ours; it "
            "is not read. Use a folder in which nobody else can write."
        )
    return open(fd, "rb")
