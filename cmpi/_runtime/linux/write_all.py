"""Writes to a descriptor that another process may have made non-blocking."""

from __future__ import annotations

import os
import select


def write_all(fd: int, data: bytes) -> None:
    """Write all the bytes.

    Raises: OSError. Blocks: until they are written, even if a program made the terminal or pipe
    non-blocking, as ssh does.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
