"""The job's stdin, for the one process that gets it."""

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

    @property
    def echoes(self) -> bool:
        """Whether it is a terminal, which shows what is typed."""
        import termios

        try:
            return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)
        except (OSError, termios.error):
            return False

    def start(self, feed: Callable[[bytes], None]) -> None:
        """Begin to read; `feed` is called in the reading thread, at the end with nothing."""
        _thread.start_new_thread(self._run, (feed,))

    def taken(self, nbytes: int) -> None:
        """The process took so much."""
        self._ahead -= nbytes
        if self._ahead == 0 and self._room.locked():
            self._room.release()

    def _run(self, feed: Callable[[bytes], None]) -> None:
        data = b"more"
        while data:
            try:
                data = os.read(self._fd, STDIN_BYTES)
            except BlockingIOError:
                # Somebody made it non-blocking: nothing has come yet, which is not the end.
                poll = select.poll()
                poll.register(self._fd, select.POLLIN)
                poll.poll()
                continue
            except OSError:
                data = b""
            self._room.acquire()  # until the last piece was taken
            self._ahead = len(data)
            feed(data)
