"""One other host of a job: its ssh, and the frames that its agent sends; or another machine, and the frames
of the proxy or relay there."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
from itertools import chain

from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import Decoder, encode
from cmpi.errors import ProtocolError
from cmpi.launcher.hosts.pipes import BufferedPipe, WatchedPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from cmpi._core.protocol.wire import Registry
    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.pipes import RootPipe

    Way: TypeAlias = Callable[[str, list[str]], list[str]]  # the command that runs a command on a host

SHIP_AHEAD_BYTES = 8 << 20  # how much of an archive may wait to be written
CONNECT_S = 9  # how long ssh may take to reach the host's sshd
SSH_S = 30.0  # how long the login may take, with all its checks and start-up files
# The interpreter there finds cmpi, but must not look for it in the folder where ssh or srun starts us.
_PROGRAM = (
    "import sys; del sys.path[0]; from cmpi._runtime.isolated import order_path; order_path(); "
    "from cmpi.launcher.hosts.{} import main; main()"
)
AGENT, PROXY, RELAY = (_PROGRAM.format(module) for module in ("agent_main", "proxy_main", "relay_main"))


def by_ssh(ssh: list[str], connect_s: float = CONNECT_S) -> Way:
    """Run commands through ssh, with the user's options; `connect_s` is the time to reach the host."""
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={max(1, round(connect_s))}"]
    return lambda target, argv: [*ssh, *options, target, f"exec {shlex.join(argv)}"]


def by_srun(target: str, argv: list[str], job: str = "") -> list[str]:
    """Run a command through srun on a node of our Slurm job, or of `job`, alongside other steps and with
    all the node's resources."""
    ours = (
        [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"] if job else []
    )
    other = ["env", *(f"--unset={name}" for name in ours)] if job else []
    step = ["--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--quiet", "--unbuffered", "--export=ALL"]
    step += [f"--jobid={job}"] if job else []
    return [*other, "srun", *step, f"--nodelist={target}", "--kill-on-bad-exit=0", *argv]


def by_kubectl(kubectl: str) -> Way:
    """Run commands in pods of Kubernetes."""
    return lambda target, argv: [kubectl, "exec", "-i", target.partition(".")[0], "--", *argv]


class RemoteHost:
    """A host, its ssh and what it runs there. Nothing blocks.

    Args:
        spec: The host.
        way: Builds the command that runs a command there.
        python: The interpreter there, unless the hostfile names one.
        ours: The version of cmpi here.
        selector: Watches the descriptors; each one's `data` is to be called with the events.
        on_data: Called with data from the agent.
        closed: Called when the connection has ended.
        program: The code to run there: `AGENT`, `PROXY` or `RELAY`.
        expected: The frames that it may send.

    Raises:
        OSError: The command that starts agents, such as ssh, cannot be run.
    """

    def __init__(
        self,
        spec: HostSpec,
        way: Way,
        python: str,
        ours: str,
        selector: selectors.BaseSelector,
        on_data: Callable[[RemoteHost, bytes], None],
        closed: Callable[[RemoteHost, str], None],
        program: str = AGENT,
        expected: Registry = launcher_agent.TO_LAUNCHER,
    ) -> None:
        self.spec, self.python = spec, spec.python or python
        self._selector, self._on_data, self._closed, self._ours = selector, on_data, closed, ours
        agent = [self.python, "-c", program]
        # A session of its own, because cmpirun passes on the terminal's Ctrl-C itself.
        self.ssh = subprocess.Popen(
            by_srun(spec.target, agent, spec.allocation) if spec.allocation else way(spec.target, agent),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.ssh.stdin and self.ssh.stdout and self.ssh.stderr
        self._pipe = WatchedPipe(
            self.ssh.stdout.fileno(), self.ssh.stdin.fileno(), selector, lambda: self._ship_on()
        )
        self._errors = BufferedPipe(self.ssh.stderr.fileno(), self.ssh.stderr.fileno())
        self._said, self._silent = b"", False  # its stderr, and whether that is closed
        self.facts: launcher_agent.HostFacts | None = None
        self.answer: str | None = None  # the answer to the last request; "": success
        self.has_program = True
        self._shipping: Iterator[launcher_agent.Unpack] = iter(())  # what remains to be sent of programs
        self.asked: list[Callable[[Any], None]] = []  # take the answers that are to come, in this order
        self.gone = False  # the connection has ended
        self.channels: dict[int, RootPipe] = {}  # to the root, by what the agent calls them
        self.version = ""  # of cmpi there, once its agent has said it
        self._preface: bytes | None = b""  # what came before the agent's greeting
        self._decoder = Decoder(expected)
        selector.register(self._pipe.readable, selectors.EVENT_READ, (self._read,))
        selector.register(self._errors.readable, selectors.EVENT_READ, (self._read_errors,))

    @property
    def said(self) -> str:
        """The end of stderr: messages of ssh, or of a Python that could not start."""
        return self._said.decode("utf-8", "replace")

    def frames(self, data: bytes) -> list[Any]:
        """Decode data; returns the frames that are now complete. Raises: ProtocolError."""
        if self._preface is not None:
            before, greeting, after = (self._preface + data).partition(launcher_agent.GREETING)
            version, end, data = after.partition(b"\n")
            self._preface = None if end else (before[-65536:] + greeting + version)
            if not end:
                return []
            self.version = version.decode("utf-8", "replace")
            if self.version != self._ours:
                self.close("it has another cmpi")  # with which frames may differ
                return []
        return list(self._decoder.feed(data))

    def tell(self, frame: Any) -> None:
        """Send the agent a frame, now or as soon as possible; nothing once the connection has ended."""
        if self.gone:
            return
        self._pipe.write(encode(frame))

    def ship(self, pieces: Iterator[launcher_agent.Unpack]) -> None:
        """Send an archive, after earlier ones, with at most `SHIP_AHEAD_BYTES` waiting to be written."""
        self._shipping = chain(self._shipping, pieces)
        self._ship_on()

    def _ship_on(self) -> None:
        while len(self._pipe.unsent) <= SHIP_AHEAD_BYTES:
            piece = next(self._shipping, None)
            if piece is None:
                break
            self.tell(piece)

    def look(self, program: str, take: Callable[[bool], None]) -> None:
        """Ask whether this file is there. If the host is lost before it answers, nothing is missing."""
        self.asked.append(lambda frame: take(frame is None or frame.found))
        self.tell(launcher_agent.Look(program))

    def copy(self, pieces: Iterator[launcher_agent.Unpack], take: Callable[[str], None]) -> None:
        """Have an archive unpacked. The answer is why that failed; "" also if the host is lost first."""
        self.asked.append(lambda frame: take("" if frame is None else frame.fault))
        self.ship(pieces)

    def answered(self, frame: Any) -> None:
        """The answer to the first thing asked has come. Raises: ProtocolError: Nothing was asked."""
        if not self.asked:
            raise ProtocolError("it has answered what nobody asked")
        self.asked.pop(0)(frame)

    def _read(self, _: int) -> None:
        data = self._pipe.read()
        if data == b"":
            self.close("")
        elif data:
            self._on_data(self, data)

    def _read_errors(self, _: int) -> None:
        data = self._errors.read()
        if data:
            self._said = (self._said + data)[-65536:]
        elif data == b"" and not self._silent:
            self._silent = True
            self._selector.unregister(self._errors.readable)

    def close(self, reason: str) -> None:
        """End the connection, or note that it has ended. A second call does nothing."""
        if self.gone:
            return
        self.gone = True
        self._selector.unregister(self._pipe.readable)
        self._pipe.drop()
        if reason:
            self.ssh.kill()
        self._read_errors(0)
        self._closed(self, reason)
        while self.asked:
            self.answered(None)
