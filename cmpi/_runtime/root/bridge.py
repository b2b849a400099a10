"""The bridge: everything the processes write comes out here, in the form that was asked for.

A thread writes, because a terminal or a pager may block as long as it likes. What is printed is
told to the monitor it came from, which sends no more than its window ahead: so memory is bounded
however slow the reader and however fast the writers.
"""

from __future__ import annotations

import _thread
import os
import select
import time
from _queue import SimpleQueue

from cmpi._core.job.output import Formatter, Speaker
from cmpi.identifiers import ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILE_NAMES = {1: "stdout", 2: "stderr"}


class Bridge:
    """Prints events. One thread calls; another one, its own, writes.

    Args:
        formatter: Decides what is printed.
        fds: The descriptors behind destinations 1 and 2.
        folder: Where to keep a file for each process and descriptor as well; "" for nowhere.
        printed: Called in the writing thread with a pid and how many of its bytes are written.
        lost: Called there, once, when nobody reads destination 1 any more.
    """

    def __init__(
        self,
        formatter: Formatter,
        fds: dict[int, int],
        folder: str,
        printed: Callable[[int, int], None],
        lost: Callable[[], None],
    ) -> None:
        self._formatter, self._fds, self._folder = formatter, fds, folder
        self._printed, self._lost = printed, lost
        # (text, pid, how much of its output this answers for, descriptor, the raw bytes)
        self._queue: SimpleQueue[tuple[list[tuple[int, bytes]], int, int, bytes] | None] = SimpleQueue()
        self._speakers: dict[int, Speaker] = {}
        self._files: dict[tuple[int, int], int] = {}
        self._broken: set[int] = set()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._write_all, ())

    def born(self, who: Speaker) -> None:
        """A process was started."""
        self._speakers[who.pid] = who
        self._queue.put((self._formatter.born(who, time.monotonic()), who.pid, 0, b""))

    def output(self, pid: int, fd: int, data: bytes) -> None:
        """A process wrote something."""
        text = self._formatter.output(self._speakers[pid], fd, data, time.monotonic())
        self._queue.put((text, pid, fd, data))

    def died(self, pid: int, status: ExitStatus, usage: Mapping[str, float]) -> None:
        """A process has ended, having used so much."""
        text = self._formatter.died(self._speakers[pid], status, usage, time.monotonic())
        self._queue.put((text, pid, 0, b""))

    def say(self, text: str) -> None:
        """A word from cmpirun itself, to stderr."""
        self._queue.put(([(2, text.encode("utf-8", "surrogateescape"))], 0, 0, b""))

    def tick(self) -> None:
        """Show what has waited long enough for the end of its line."""
        text = self._formatter.tick(time.monotonic())
        if text:
            self._queue.put((text, 0, 0, b""))

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        return self._formatter.deadline_s()

    def tail(self, pid: int) -> bytes:
        """The last that a process wrote to its stderr."""
        return self._formatter.tail(pid)

    def finish(self) -> None:
        """Blocks until all is written."""
        self._queue.put(None)
        self._done.acquire()

    # -- the writing thread ----------------------------------------------------------------

    def _write_all(self) -> None:
        """Write until the end; a fault of our own ends the job with a word, for it would wait for ever."""
        try:
            while (item := self._queue.get()) is not None:
                self._write_item(*item)
            for handle in self._files.values():
                os.close(handle)
        except Exception as error:
            text = f"cmpirun: InternalError, please report this: no more output: {error!r}\n"
            self._write(2, text.encode("utf-8", "backslashreplace"))
            self._lost()
        finally:
            self._done.release()

    def _write_item(self, text: list[tuple[int, bytes]], pid: int, fd: int, data: bytes) -> None:
        for place, piece in text:
            self._write(place, piece)
        if data and self._folder:
            self._keep(pid, fd, data)
        if data:
            self._printed(pid, len(data))

    def _write(self, place: int, data: bytes) -> None:
        if place in self._broken:
            return
        fd, view = self._fds[place], memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                # Somebody made the terminal non-blocking (ssh does); wait until it takes more.
                poll = select.poll()
                poll.register(fd, select.POLLOUT)
                poll.poll()
            except OSError:
                self._broken.add(place)
                if place == 1:
                    self._lost()
                return

    def _keep(self, pid: int, fd: int, data: bytes) -> None:
        """Append to the process's own file; a full disk is said once, and the job goes on."""
        try:
            if (pid, fd) not in self._files:
                name = f"{self._folder}/{pid:07x}.{_FILE_NAMES[fd]}"
                self._files[pid, fd] = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            view = memoryview(data)
            while view:
                view = view[os.write(self._files[pid, fd], view) :]
        except OSError as error:
            folder, self._folder = self._folder, ""
            text = f"cmpirun: cannot write to {folder}: {error.strerror}; no more is kept there\n"
            self._write(2, text.encode("utf-8", "surrogateescape"))
