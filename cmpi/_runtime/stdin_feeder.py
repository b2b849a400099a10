"""Reads the stdin of a program for the one process that gets it."""

from __future__ import annotations

import _thread
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STDIN_BYTES = 65536


class StdinFeeder:
    """Reads stdin in a thread, a window ahead of the process that gets it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._room = _thread.allocate_lock()
        self._ahead = 0
        self._closed = False
        self._wake: tuple[int, int] | None = None  # the ends of a pipe, while the thread is running

    @property
    def echoes(self) -> bool:
        """Whether it is a terminal, which echoes what is typed."""
        import termios

        try:
            return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)
        except (OSError, termios.error):
            return False

    def start(self, feed: Callable[[bytes], None]) -> None:
        """Begin to read; `feed` is called in the reading thread, with no bytes at the end."""
        self._wake = os.pipe2(os.O_CLOEXEC)
        _thread.start_new_thread(self._run, (feed, self._wake[0]))

    def taken(self, nbytes: int) -> None:
        """The process has taken this many bytes."""
        self._ahead -= nbytes
        if self._ahead == 0 and self._room.locked():
            self._room.release()

    def close(self) -> None:
        """Stop reading: further input is for somebody else."""
        self._closed = True
        if self._wake is not None:
            os.close(self._wake[1])
            self._wake = None
        if self._room.locked():
            self._room.release()

    def _run(self, feed: Callable[[bytes], None], wake: int) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        data = b"more"
        while data and not self._closed:
            ready = {fd for fd, _ in poll.poll()}
            if wake in ready:
                break
            try:
                data = os.read(self._fd, STDIN_BYTES)
            except BlockingIOError:
                continue  # another process made it non-blocking: this is not the end
            except OSError:
                data = b""
            self._room.acquire()  # until the last piece was taken
            self._ahead = len(data)
            feed(data)
        os.close(wake)
