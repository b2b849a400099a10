"""One other host of a job: its ssh, and the frames that its agent sends."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess

from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import Decoder, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from cmpi.launcher.hosts.hostfile import HostSpec

    Way: TypeAlias = Callable[[str, list[str]], list[str]]  # the command that runs a command on a host

SHIP_AHEAD_BYTES = 8 << 20  # of an archive, that may wait to be written
CONNECT_S = 9  # for ssh, to reach the host's ssh
SSH_S = 30.0  # for it to log in there, by whatever checks and start-up files
# Where cmpi is there is for the interpreter there to find, but not in the folder where ssh or srun puts us.
_PROGRAM = (
    "import sys; del sys.path[0]; from cmpi._runtime.isolated import order_path; order_path(); "
    "from cmpi.launcher.hosts.agent_main import main; main()"
)


def by_ssh(ssh: list[str], connect_s: float = CONNECT_S) -> Way:
    """By ssh, with these options of the user's; `connect_s` is for reaching the host."""
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={max(1, round(connect_s))}"]
    return lambda target, argv: [*ssh, *options, target, f"exec {shlex.join(argv)}"]


def by_srun(target: str, argv: list[str]) -> list[str]:
    """By Slurm, to a node of the job that we are in: beside whatever else runs there, with all it has."""
    step = ["--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--quiet", "--unbuffered"]
    return ["srun", *step, f"--nodelist={target}", "--kill-on-bad-exit=0", *argv]


class BufferedPipe:
    """A descriptor pair with what waits to be written. Nothing blocks."""

    def __init__(self, readable: int, writable: int) -> None:
        self.readable, self.writable = readable, writable
        self.unsent = bytearray()
        for fd in (readable, writable):
            os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        """Write, now or when it can be. Raises: OSError, if nobody reads there any more."""
        self.unsent += data
        try:
            while self.unsent:
                del self.unsent[: os.write(self.writable, self.unsent)]
        except BlockingIOError:
            pass

    def read(self) -> bytes | None:
        """What has come; b"" at the end, None if nothing has."""
        try:
            return os.read(self.readable, 1 << 20)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class RemoteHost:
    """A host, its ssh and its agent. Nothing blocks.

    Args:
        spec: The host.
        way: How a command gets there.
        python: The interpreter there, where the hostfile names none.
        ours: The version of cmpi here.
        selector: Watches the descriptors; what it has for them is to be called with the events.
        hear: Called with what the agent sends.
        closed: Called at the end of its connection.

    Raises:
        OSError: What starts agents, such as ssh, cannot be run.
    """

    def __init__(
        self,
        spec: HostSpec,
        way: Way,
        python: str,
        ours: str,
        selector: selectors.BaseSelector,
        hear: Callable[[RemoteHost, bytes], None],
        closed: Callable[[RemoteHost, str], None],
    ) -> None:
        self.spec, self.python = spec, spec.python or python
        self._selector, self._hear, self._closed, self._ours = selector, hear, closed, ours
        # A session of its own: the terminal's Ctrl-C is for cmpirun to pass on, in order.
        self.ssh = subprocess.Popen(
            way(spec.target, [self.python, "-c", _PROGRAM]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.ssh.stdin and self.ssh.stdout and self.ssh.stderr
        self._pipe = BufferedPipe(self.ssh.stdout.fileno(), self.ssh.stdin.fileno())
        self._errors = BufferedPipe(self.ssh.stderr.fileno(), self.ssh.stderr.fileno())
        self._said, self._silent = b"", False  # on stderr; whether that is closed
        self.facts: launcher_agent.HostFacts | None = None
        self.answer: str | None = None  # to what all hosts were told last; "": well
        self.has_program = True
        self._shipping: Iterator[launcher_agent.Unpack] = iter(
            ()
        )  # what is still to be sent of the program
        self.gone = False  # the connection has ended
        self.channels: dict[int, BufferedPipe] = {}  # to the root, by what the agent calls them
        self.version = ""  # of cmpi there, once its agent has said it
        self._preface: bytes | None = b""  # what came before the agent's greeting
        self._decoder = Decoder(launcher_agent.TO_LAUNCHER)
        selector.register(self._pipe.readable, selectors.EVENT_READ, (self._read,))
        selector.register(self._errors.readable, selectors.EVENT_READ, (self._read_errors,))

    @property
    def said(self) -> str:
        """What came on stderr, in the end: the words of ssh, or of a Python that could not begin."""
        return self._said.decode("utf-8", "replace")

    def frames(self, data: bytes) -> list[Any]:
        """The frames that this completes. Raises: ProtocolError."""
        if self._preface is not None:
            before, greeting, after = (self._preface + data).partition(launcher_agent.GREETING)
            version, end, data = after.partition(b"\n")
            self._preface = None if end else (before[-65536:] + greeting + version)
            if not end:
                return []
            self.version = version.decode("utf-8", "replace")
            if self.version != self._ours:
                self.close("it has another cmpi")  # whose frames may be other ones
                return []
        return list(self._decoder.feed(data))

    def tell(self, frame: Any) -> None:
        """Send the agent a frame, now or as soon as it can be."""
        waited = bool(self._pipe.unsent)
        try:
            self._pipe.write(encode(frame))
        except OSError:
            return  # the end of its stdout will be read
        if self._pipe.unsent and not waited:
            self._selector.register(self._pipe.writable, selectors.EVENT_WRITE, (self._write_on,))

    def ship(self, pieces: Iterator[launcher_agent.Unpack]) -> None:
        """Send an archive, of which no more than `SHIP_AHEAD_BYTES` waits to be written."""
        self._shipping = pieces
        self._ship_on()

    def _ship_on(self) -> None:
        while len(self._pipe.unsent) <= SHIP_AHEAD_BYTES:
            piece = next(self._shipping, None)
            if piece is None:
                break
            self.tell(piece)

    def _write_on(self, _: int) -> None:
        try:
            self._pipe.write(b"")
        except OSError:
            self._pipe.unsent.clear()
        if not self._pipe.unsent:
            self._selector.unregister(self._pipe.writable)
        self._ship_on()

    def _read(self, _: int) -> None:
        data = self._pipe.read()
        if data == b"":
            self.close("")
        elif data:
            self._hear(self, data)

    def _read_errors(self, _: int) -> None:
        data = self._errors.read()
        if data:
            self._said = (self._said + data)[-65536:]
        elif data == b"" and not self._silent:
            self._silent = True
            self._selector.unregister(self._errors.readable)

    def close(self, reason: str) -> None:
        """The connection has ended; or, for a reason, is to. A second call does nothing."""
        if self.gone:
            return
        self.gone = True
        self._selector.unregister(self._pipe.readable)
        if self._pipe.unsent:
            self._selector.unregister(self._pipe.writable)
            self._pipe.unsent.clear()
        if reason:
            self.ssh.kill()
        self._read_errors(0)
        self._closed(self, reason)
