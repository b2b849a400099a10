"""One other host of a job: its ssh, and the frames that its agent sends."""

from __future__ import annotations

import os
import shlex
import subprocess
import time

from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from cmpi.launcher.hosts.hostfile import HostSpec

    Way: TypeAlias = Callable[[str, list[str]], list[str]]  # the command that runs a command on a host

CONNECT_S = 9  # for ssh, to reach the host
# Where cmpi is there is for the interpreter there to find, but not in the folder where ssh or srun puts us.
_PROGRAM = (
    "import sys; del sys.path[0]; from cmpi._runtime.isolated import order_path; order_path(); "
    "from cmpi.launcher.hosts.agent_main import main; main()"
)


def by_ssh(ssh: list[str]) -> Way:
    """By ssh, with these options of the person's."""
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
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
    """A host, its ssh and its agent."""

    def __init__(self, spec: HostSpec, way: Way, python: str) -> None:
        self.spec, self.python = spec, spec.python or python
        # A session of its own: the terminal's Ctrl-C is for cmpirun to pass on, in order.
        self.ssh = subprocess.Popen(
            way(spec.target, [self.python, "-c", _PROGRAM]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.ssh.stdin and self.ssh.stdout and self.ssh.stderr
        self.pipe = BufferedPipe(self.ssh.stdout.fileno(), self.ssh.stdin.fileno())
        self.errors = BufferedPipe(self.ssh.stderr.fileno(), self.ssh.stderr.fileno())
        self.said, self.silent = b"", False  # on stderr; whether that is closed
        self.facts: launcher_agent.HostFacts | None = None
        self.answer: str | None = None  # to what it was told last; "": well
        self.has_program = True
        self.shipping: Iterator[launcher_agent.Unpack] = iter(())  # what is still to be sent of the program
        self.gone = False
        self.heard_s = time.monotonic()
        self.channels: dict[int, BufferedPipe] = {}  # to the root, by what the agent calls them
        self._preface: bytes | None = b""  # what came before the agent's greeting
        self._decoder = Decoder(launcher_agent.TO_LAUNCHER)

    @property
    def up(self) -> bool:
        """True if the agent is there."""
        return self.facts is not None and not self.gone

    def frames(self, data: bytes) -> list[Any]:
        """The frames that this completes. Raises: ProtocolError."""
        if self._preface is not None:
            before, greeting, data = (self._preface + data).partition(launcher_agent.GREETING)
            self._preface = None if greeting else before[-65536:]
            if not greeting:
                return []
        return list(self._decoder.feed(data))
