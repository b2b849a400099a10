"""The bridge: prints everything that the processes write, in the requested form.

A thread writes, because a terminal or a pager may block for any time. The bridge tells each monitor how
much of its output was printed, and the monitor sends at most a window ahead. Memory is therefore bounded,
however slow the reader and however fast the writers are.
"""

from __future__ import annotations

import _thread
import errno
import os
import time
from _queue import SimpleQueue

from cmpi._core.output.output import Formatter
from cmpi._core.output.speaker import Speaker
from cmpi._core.protocol import launcher_root
from cmpi._runtime.linux.write_all import write_all
from cmpi._runtime.root.output_files import OutputFiles
from cmpi._transport import clock
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cmpi._core.job.process_record import Process
    from cmpi._runtime.output_log import OutputLog
    from cmpi.identifiers import ExitStatus


FORGET = -1  # in place of a descriptor
LATE_S = 0.05  # between two looks whether all is written
READER_LEFT = (errno.EPIPE, errno.EIO)  # of a pipe; of a terminal


def _make_formatter(order: launcher_root.LaunchJob, fds: dict[int, int]) -> Formatter:
    """Make the formatter that was ordered, for the terminals or files behind these descriptors."""
    can_redraw = os.environ.get("TERM", "dumb") != "dumb"
    charset = next((v for name in ("LC_ALL", "LC_CTYPE", "LANG") if (v := os.environ.get(name))), "")
    return Formatter(
        order.output,
        colour=order.colour,
        one_place=order.one_place,
        terminals=tuple(place for place, fd in fds.items() if can_redraw and os.isatty(fd)),
        # A locale without a charset is the C locale, for which Python also writes UTF-8.
        utf8="." not in charset or "utf" in charset.lower(),
        verbosity=order.verbosity,
        epoch_s=time.time() - time.monotonic(),
    )


class Bridge:
    """Prints events. One thread calls the methods; the bridge's own thread writes.

    Args:
        formatter: Decides what is printed.
        fds: The descriptors behind destinations 1 and 2.
        folder: Where to write a file for each process and descriptor too; "" for none.
        printed: Called in the writing thread with a pid and the number of its bytes that were written.
        lost: Called there, once, when the reader of destination 1 has closed it.
        log: Where to write instead of the descriptors.
    """

    def __init__(
        self,
        formatter: Formatter,
        fds: dict[int, int],
        folder: str,
        printed: Callable[[int, int], None],
        lost: Callable[[], None],
        log: OutputLog | None = None,
    ) -> None:
        self._formatter, self._fds, self._log = formatter, fds, log
        self._files = OutputFiles(folder) if folder else None
        self._printed, self._lost = printed, lost
        # (text, pid whose output this acknowledges, descriptor, raw bytes). None as raw bytes: the process
        # has ended; with `FORGET`: nothing more will come from it.
        self._queue: SimpleQueue[tuple[list[tuple[int, bytes]], int, int, bytes | None] | None]
        self._queue = SimpleQueue()
        self._terminals = [(place, fd) for place, fd in fds.items() if os.isatty(fd)]
        self._broken: set[int] = set()
        self._failed = False  # whether output was lost though somebody wanted it
        self._launcher_met = False
        self._done: Callable[[], None] = lambda: None
        _thread.start_new_thread(self._write_all, ())

    def born(self, process: Process, parent: int | None) -> None:
        """A process was started, by `parent` if that is a process of the job."""
        if self._files is not None:
            self._files.born(process.pid, process.file_name)
        rank = process.rank if process.is_rank else None
        who = Speaker(process.pid, parent, process.host, rank, process.name, process.title, process.label)
        self._print(self._formatter.born(who, time.monotonic()))

    def named(self, process: Process) -> None:
        """A process got another name."""
        self._formatter.named(process.pid, process.name, process.title)

    def output(self, pid: int, fd: int, data: bytes) -> None:
        """A process wrote something."""
        self._measure()
        self._queue.put((self._formatter.output(pid, fd, data, time.monotonic()), pid, fd, data))

    def output_of_launcher(self, fd: int, data: bytes) -> None:
        """Processes that the program itself started, by MPI_Comm_spawn, wrote something."""
        if not self._launcher_met:
            self._launcher_met = True
            host, title = os.uname().nodename, "MPI_Comm_spawn"
            who = Speaker(NO_PID, None, host, None, title, title, "")
            self._formatter.met(who)
            if self._files is not None:
                self._files.born(who.pid, title)
        self.output(NO_PID, fd, data)

    def typed(self, pid: int, data: bytes) -> None:
        """The user has typed something for a process, and the terminal has echoed it."""
        self._measure()
        self._print(self._formatter.typed(pid, data, time.monotonic()))

    def died(self, pid: int, status: ExitStatus, usage: Mapping[str, float]) -> None:
        """A process has ended, with this resource usage."""
        self._queue.put((self._formatter.died(pid, status, usage, time.monotonic()), pid, 0, None))

    def forget(self, pid: int) -> None:
        """Release what is kept for a process that will write nothing more."""
        self._formatter.forget(pid)
        if self._files is not None:
            self._queue.put(([], pid, FORGET, None))

    def say(self, text: str, *, alarm: bool = False) -> None:
        """Print a message of cmpirun itself on stderr; the first line of an `alarm` is highlighted."""
        self._print(self._formatter.say(text, time.monotonic(), alarm=alarm))

    def tick(self) -> None:
        """Show what has waited long enough."""
        if self._queue.empty():
            self._measure()
            self._print(self._formatter.tick(time.monotonic()))
        else:
            self._formatter.late(time.monotonic())

    def deadline_s(self) -> float | None:
        """When `tick` is due, by the root's clock; None if nothing is."""
        deadline_s = self._formatter.deadline_s()
        if deadline_s is None:
            return None
        left_s = deadline_s - time.monotonic()  # output has the times of the real clock
        return clock.now_s() + (left_s if self._queue.empty() else max(left_s, LATE_S))

    def tail(self, pid: int) -> bytes:
        """The end of a process's stderr, unless it is still visible."""
        return self._formatter.tail(pid)

    def ended(self, fields: Mapping[str, object]) -> None:
        """The job has ended; `fields` are those of the last event."""
        self._print(self._formatter.ended(fields, time.monotonic()))

    def finish(self, report: str = "") -> None:
        """Print a last report, if there is one. Blocks: until all is written."""
        written = _thread.allocate_lock()
        written.acquire()
        self.finish_later(report, written.release)
        written.acquire()

    def code(self, code: int) -> int:
        """The exit code of a program that would exit with this one, once everything is written: not 0 if
        some of its output could not be."""
        return code or int(self._failed)

    def finish_later(self, report: str, done: Callable[[], None]) -> None:
        """As `finish`, without waiting: `done` is called in the writing thread when everything is
        written."""
        if report:
            self.say(report, alarm=True)
        self._done = done
        self._queue.put(None)

    def _print(self, text: list[tuple[int, bytes]]) -> None:
        if text:
            self._queue.put((text, 0, 0, b""))

    def _measure(self) -> None:
        """Measure the terminals, which may have been resized. (The root gets no signal: it is in its own
        session.)"""
        for place, fd in self._terminals:
            try:
                size = os.get_terminal_size(fd)
            except OSError:
                continue  # the terminal is gone
            if size.columns and size.lines:
                self._formatter.resized(place, size.columns, size.lines)

    # -- the writing thread ----------------------------------------------------------------

    def _write_all(self) -> None:
        """Write until the end. A bug here ends the job with a message, because otherwise it would wait for
        ever."""
        try:
            while (item := self._queue.get()) is not None:
                self._write_item(*item)
        except Exception as error:
            text = f"cmpirun: InternalError, please report this: no more output: {error!r}\n"
            self._write(2, text.encode("utf-8", "backslashreplace"))
            self._lost()
        finally:
            self._done()

    def _write_item(self, text: list[tuple[int, bytes]], pid: int, fd: int, data: bytes | None) -> None:
        for place, piece in text:
            self._write(place, piece)
        if self._files is not None and data != b"":
            try:
                if data is not None:
                    self._files.keep(pid, fd, data)
                else:
                    (self._files.forget if fd == FORGET else self._files.died)(pid)
            except OSError as error:
                folder, self._files = self._files.folder, None
                why = f"cmpirun: cannot write to {folder}: {error.strerror}; no more is kept there\n"
                self._write(2, why.encode("utf-8", "surrogateescape"))
        if data:
            self._printed(pid, len(data))

    def _write(self, place: int, data: bytes) -> None:
        if place in self._broken:
            return
        try:
            if self._log is not None:
                self._log.write(place, data)
            else:
                write_all(self._fds[place], data)
        except OSError as error:
            self._broken.add(place)
            if place == 1:
                if error.errno not in READER_LEFT:
                    self._failed = True
                    self._write(2, f"cmpirun: cannot write the job's output: {error.strerror}\n".encode())
                self._lost()


def make_bridge(
    order: launcher_root.LaunchJob,
    terminal: list[int],
    printed: Callable[[int, int], None],
    lost: Callable[[], None],
    log: OutputLog | None,
) -> Bridge:
    """Make the bridge that was ordered, for the descriptors 1 and 2 of a `terminal`, or for a log."""
    fds = {1: terminal[1], 2: terminal[2]}
    return Bridge(_make_formatter(order, fds), fds, order.output_dir, printed, lost, log)
