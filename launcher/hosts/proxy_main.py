"""The proxy: runs cmpirun on the host of a job, for a cmpirun on another machine.

That cmpirun starts it through ssh and talks to it through its stdin and stdout. The secret of the job stays
on this host. When the connection ends, cmpirun gets SIGHUP, as if its terminal had been closed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from _queue import SimpleQueue

from cmpi._core.protocol import launcher_agent, launcher_proxy, launcher_root
from cmpi._core.protocol.wire import Decoder, encode, handler
from cmpi._runtime import environment, programs
from cmpi._runtime.code_version import code_version
from cmpi._runtime.linux import descendants, home, job_folders
from cmpi._runtime.linux.write_all import write_all
from cmpi.errors import LaunchError
from cmpi.launcher.hosts.staging import Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OF_HERE = environment.OF_A_HOST | {"TMPDIR"}  # the job is found by it
LAST_OUTPUT_S = 10.0  # how long output may take to arrive here after cmpirun's end


class Proxy:
    """Serves the other cmpirun. The main thread reads its frames; threads carry input and output, which may
    block for any time."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)  # other output here is for the user, and must not mix with frames
        self._lock = threading.Lock()
        self._input: SimpleQueue[bytes | None] = SimpleQueue()
        self._unpacker: Unpacker | None = None
        self._unpacked = ""  # a folder that is removed at the end
        self._cmpirun: subprocess.Popen[bytes] | None = None
        self._terminal = -1  # our side of the terminal that cmpirun has

    def run(self) -> None:
        """Serve until the connection ends, and until cmpirun has ended."""
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._hang_up())
        write_all(self._out, launcher_agent.GREETING + f"{code_version()}\n".encode())
        threading.Thread(target=self._beat, daemon=True).start()
        decoder, handlers = Decoder(launcher_proxy.TO_PROXY), self._handlers()
        while data := os.read(0, 1 << 20):
            for frame in decoder.feed(data):
                handler(handlers, frame)(frame)
        self._hang_up()
        if self._cmpirun is not None:
            self._cmpirun.wait()
        if self._unpacked:
            shutil.rmtree(self._unpacked, ignore_errors=True)

    def _handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            launcher_proxy.Prepare: self._prepare,
            launcher_agent.Unpack: self._unpack,
            launcher_proxy.RunCmpirun: self._run,
            launcher_agent.Piece: lambda it: self._input.put(it.data),
            launcher_agent.Shut: lambda _: self._input.put(None),
            launcher_root.Interrupt: lambda it: self._signal(it.signal),
            launcher_proxy.Resized: lambda it: self._resize(it.columns, it.lines),
        }

    def _send(self, frame: Any) -> None:
        try:
            with self._lock:
                write_all(self._out, encode(frame))
        except OSError:
            pass  # the connection has ended, which the main thread sees

    def _beat(self) -> None:
        while True:
            time.sleep(launcher_proxy.BEAT_S)
            self._send(launcher_agent.Beat())

    def _signal(self, number: int) -> None:
        if self._cmpirun is not None and self._cmpirun.poll() is None:
            self._cmpirun.send_signal(number)

    def _hang_up(self) -> None:
        self._signal(signal.SIGHUP)

    def _resize(self, columns: int, lines: int) -> None:
        if self._terminal >= 0:
            size = struct.pack("HHHH", lines, columns, 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    # -- before cmpirun runs -------------------------------------------------------------------

    def _prepare(self, frame: launcher_proxy.Prepare) -> None:
        fault = folder = ""
        try:
            folder = job_folders.the_one(frame.job) if frame.job else ""
        except LaunchError as error:
            fault = str(error)
        has_program = not frame.program or os.path.isfile(frame.program)
        self._send(launcher_proxy.Prepared(fault, has_program, folder))

    def _unpack(self, frame: launcher_agent.Unpack) -> None:
        if self._unpacker is None:
            self._unpacked = frame.there
            self._unpacker = Unpacker(os.path.dirname(frame.there))
        self._unpacker.take(frame.data)
        if frame.last:
            self._send(launcher_agent.Unpacked(self._unpacker.finish(frame.there)))
            self._unpacker = None

    # -- cmpirun -------------------------------------------------------------------------------

    def _run(self, order: launcher_proxy.RunCmpirun) -> None:
        given = dict(item.split("=", 1) for item in order.environment)
        settings = {name: value for name, value in given.items() if name not in OF_HERE}
        settings |= {name: value for name, value in os.environ.items() if name in OF_HERE}
        if order.keep:
            self._unpacked = ""
        ours, theirs = self._places(order)
        self._cmpirun = subprocess.Popen(
            [sys.executable, *programs.isolated(programs.CMPIRUN), *order.arguments],
            env=settings,
            cwd=order.cwd if os.path.isdir(order.cwd) else os.path.expanduser("~"),
            stdin=subprocess.PIPE,
            stdout=theirs[0],
            stderr=theirs[1],
            start_new_session=True,
            preexec_fn=descendants.die_with_parent,  # there is one thread more, which sleeps
        )
        for fd in {*theirs}:
            os.close(fd)
        readers = [
            threading.Thread(target=self._carry_output, args=(fd, channel)) for fd, channel in ours.items()
        ]
        for thread in (*readers, threading.Thread(target=self._carry_input, daemon=True)):
            thread.daemon = True
            thread.start()
        threading.Thread(target=self._await_end, args=(readers,), daemon=True).start()

    def _places(self, order: launcher_proxy.RunCmpirun) -> tuple[dict[int, int], tuple[int, int]]:
        """Make pipes, or a terminal, for descriptors 1 and 2 of cmpirun. Returns our ends with the channel
        of each, and cmpirun's ends."""
        ours: dict[int, int] = {}
        theirs: dict[int, int] = {}
        for channel in (launcher_proxy.STDOUT, launcher_proxy.STDERR):
            if str(channel) in order.terminals and self._terminal >= 0:
                theirs[channel] = theirs[launcher_proxy.STDOUT]  # there is one terminal
            elif channel == launcher_proxy.STDERR and order.one_place:
                theirs[channel] = theirs[launcher_proxy.STDOUT]
            elif str(channel) in order.terminals:
                self._terminal, theirs[channel] = os.openpty()
                tty.setraw(theirs[channel])  # the user's own terminal translates
                self._resize(order.columns, order.lines)
                ours[self._terminal] = channel
            else:
                read, theirs[channel] = os.pipe()
                ours[read] = channel
        return ours, (theirs[launcher_proxy.STDOUT], theirs[launcher_proxy.STDERR])

    def _carry_output(self, fd: int, channel: int) -> None:
        while True:
            try:
                data = os.read(fd, launcher_agent.PIECE_BYTES)
            except OSError:
                return  # of a terminal that nobody has any more
            if not data:
                return
            self._send(launcher_agent.Piece(channel, data))

    def _carry_input(self) -> None:
        assert self._cmpirun is not None and self._cmpirun.stdin is not None
        with self._cmpirun.stdin as stdin:
            while (data := self._input.get()) is not None:
                try:
                    write_all(stdin.fileno(), data)
                except OSError:
                    pass  # nobody reads it any more
                self._send(launcher_proxy.InputTaken(len(data)))

    def _await_end(self, readers: list[threading.Thread]) -> None:
        assert self._cmpirun is not None
        code = self._cmpirun.wait()
        for thread in readers:
            thread.join(LAST_OUTPUT_S)
        self._send(launcher_agent.CommandEnded(0, code if code >= 0 else 128 - code))


def main() -> int:
    """Run the proxy; returns its exit code."""
    home.ensure()
    Proxy().run()
    return 0
