"""The connection with one of our programs on the machine of a job, for a cmpirun that is not part of it."""

from __future__ import annotations

import sys
from importlib.metadata import version

from cmpi._core.protocol.wire import handler
from cmpi._runtime.code_version import code_version
from cmpi._transport import clock
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher.hosts import host_checks
from cmpi.launcher.hosts.hostfile import HostSpec
from cmpi.launcher.hosts.remote_host import SSH_S, RemoteHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable, Iterator
    from typing import Any

    from cmpi._core.protocol.launcher_agent import Unpack
    from cmpi._core.protocol.wire import Registry
    from cmpi.launcher.hosts.remote_host import Way

# ssh itself finds out that the other machine is gone: cmpirun may be stopped, or its terminal may block.
ALIVE = ["-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=3"]
SHIP_S = 300.0  # how long the machine may take to receive and unpack a program


class FarMachine:
    """The connection. `ask` and `ship` block, with a limit; nothing else does.

    Args:
        target: The machine, as for ssh.
        ways: Build the command that runs a command there. If the program does not answer by one way, `ask`
            tries the next.
        selector: Watches the descriptors; each one's `data` is to be called with the events.
        program: The code to run there.
        expected: The frames that it may send.
        handlers: The handlers of these frames, except for answers.
        answers: The frames that `ask` and `ship` wait for.

    Raises:
        LaunchError: The command, such as ssh, cannot be run.
    """

    def __init__(
        self,
        target: str,
        ways: Iterator[Way],
        selector: selectors.BaseSelector,
        program: str,
        expected: Registry,
        handlers: dict[type, Callable[[Any], None]],
        *answers: type,
    ) -> None:
        self._selector = selector
        self._handlers = handlers | dict.fromkeys(answers, self._answered)
        self._answer: Any = None
        self._version = code_version()
        self._spec = HostSpec(target.rpartition("@")[2], target)
        self.name = self._spec.name
        self._ways, self._program, self._expected = ways, program, expected
        self._host = self._reach(next(ways))

    def _reach(self, way: Way) -> RemoteHost:
        try:
            return RemoteHost(
                self._spec,
                way,
                sys.executable,
                self._version,
                self._selector,
                self._on_data,
                lambda host, reason: None,
                self._program,
                self._expected,
            )
        except OSError as error:
            raise LaunchError(f"cannot start {error.filename}: {error.strerror}") from None

    def tell(self, frame: Any) -> None:
        """Send a frame, now or as soon as possible."""
        self._host.tell(frame)

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._host.gone

    @property
    def last_words(self) -> str:
        """The last line of what ssh has said; ""."""
        return next(iter(self._host.said.strip().splitlines()[-1:]), "")

    def close(self) -> None:
        """End the connection."""
        self._host.close("it is over")
        self._host.ssh.wait()

    def turn(self, timeout_s: float | None) -> None:
        """Handle what has come. Blocks: at most `timeout_s`."""
        for key, events in self._selector.select(timeout_s):
            call, *arguments = key.data
            call(*arguments, events)

    def ask(self, frame: Any, limit_s: float) -> Any:
        """Send the first frame; returns the answer. Raises: LaunchError: There is none. Blocks: for it, at
        most `limit_s` seconds (0: the default) by each way."""
        faults: list[str] = []
        while True:
            self.tell(frame)
            try:
                return self._await(limit_s or SSH_S)
            except LaunchError as error:
                if self._host.version:
                    raise  # it is reached
                faults.append(f"through srun: {self.last_words}" if faults else str(error))
            self.close()
            way = next(self._ways, None)
            if way is None:
                raise LaunchError("; ".join(faults))
            self._host = self._reach(way)

    def ship(self, pieces: Iterator[Unpack]) -> Any:
        """Send an archive; returns the answer. Raises: LaunchError: There is none. Blocks: at most
        `SHIP_S`."""
        self._host.ship(pieces)
        return self._await(SHIP_S)

    def _await(self, limit_s: float) -> Any:
        end_s, self._answer = clock.now_s() + limit_s, None
        while self._answer is None and not self.gone and clock.now_s() < end_s:
            self.turn(0.1)
        if self._answer is not None:
            return self._answer
        host, ours = self._host, self._version
        code = host.ssh.wait() if host.gone else None
        if host.version not in ("", ours):
            raise LaunchError(host_checks.other_code(self._spec, host.version, ours))
        raise LaunchError(
            host_checks.no_agent(self._spec, host.python, "openmpi", version("cmpi"), code, host.said)
        )

    def _answered(self, frame: Any) -> None:
        self._answer = frame

    def _on_data(self, host: RemoteHost, data: bytes) -> None:
        try:
            for frame in host.frames(data):
                handler(self._handlers, frame)(frame)
        except ProtocolError as error:
            host.close(f"what runs there violates the protocol: {error}")
