"""The root's loop: waits for descriptors, and runs calls that other threads post."""

from __future__ import annotations

import os
import select
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class RootLoop:
    """The loop. One thread calls `turn` and all other methods; any thread may call `post`."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._posted: deque[Callable[[], None]] = deque()  # from other threads
        self.watch(self._wake_read, self._run_posted)

    def watch(self, fd: int, ready: Callable[[int], None]) -> None:
        """Call `ready` with the events of this descriptor when it is readable or closed."""
        self._poll.register(fd, select.EPOLLIN)
        self._watched[fd] = ready

    def watch_writing(self, fd: int, on: bool) -> None:
        """Set whether to wait until a watched descriptor is writable, too."""
        self._poll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if on else 0))

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor, before it is closed."""
        self._poll.unregister(fd)
        del self._watched[fd]

    def post(self, act: Callable[[], None]) -> None:
        """Have the loop call `act` soon. From any thread."""
        self._posted.append(act)
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # there are enough wake-ups in it already

    def turn(self, timeout_s: float | None) -> None:
        """Wait until something is ready, and call its handlers. Blocks: at most `timeout_s`."""
        ready = self._poll.poll(timeout_s)
        for fd, events in ready:
            if fd in self._watched:  # an earlier handler of this round may have closed it
                self._watched[fd](events)

    def _run_posted(self, _: int) -> None:
        os.read(self._wake_read, 4096)
        while self._posted:
            self._posted.popleft()()
