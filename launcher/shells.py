"""What others may ask of a running cmpirun: `rsh.py`, to run the daemons that mpiexec wants on other hosts,
and `cmpirun --add-host`."""

from __future__ import annotations

import selectors
import time

from cmpi._core import tunnel_frames as tunnel
from cmpi._transport import sockets
from cmpi.errors import ProtocolError
from launcher.hostfile import parse_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.fleet import Fleet
    from launcher.hostfile import HostSpec


class Shells:
    """Where `rsh.py`, which mpiexec takes for ssh, has its commands run.

    Args:
        folder: The job's; the socket is in it.
        secret: The job's.
        fleet: The hosts.
        noise: Called with what the commands write.
    """

    def __init__(self, folder: str, secret: bytes, fleet: Fleet, noise: Callable[[bytes], None]) -> None:
        self._secret, self._fleet, self._noise = secret, fleet, noise
        self._selector = selectors.EpollSelector()
        self._server = sockets.listen(folder + "/rsh")
        self._selector.register(self._server.fileno(), selectors.EVENT_READ, (self._accept,))

    def fileno(self) -> int:
        """The descriptor, for poll: call `serve` when it is ready."""
        return self._selector.fileno()

    def serve(self) -> None:
        """Take in whoever comes."""
        for key, _ in self._selector.select(0):
            call, *arguments = key.data
            call(*arguments)

    def _accept(self) -> None:
        sock = sockets.accept(self._server)
        if sock is not None:
            doorman = sockets.Doorman(sock, self._secret, time.monotonic())
            self._selector.register(doorman.fileno(), selectors.EVENT_READ, (self._ask_in, doorman))

    def _ask_in(self, doorman: sockets.Doorman) -> None:
        fd = doorman.fileno()
        try:
            stream = doorman.progress()
        except ProtocolError:
            self._selector.unregister(fd)  # a stranger
            return
        if stream is not None:
            self._selector.modify(fd, selectors.EVENT_READ, (self._hear, stream))

    def _add(self, stream: sockets.Stream, hosts: list[HostSpec]) -> None:
        answers: list[str] = []

        def answered(fault: str) -> None:
            answers.append(fault)
            if len(answers) == len(hosts):
                stream.send(tunnel.Added([each for each in answers if each]))

        for spec in hosts:
            self._fleet.add(spec, answered)

    def _hear(self, stream: sockets.Stream) -> None:
        try:
            for frame in stream.receive():
                if isinstance(frame, tunnel.RunThere):
                    self._fleet.run(
                        frame.host,
                        frame.argv,
                        [],
                        self._noise,
                        lambda code: stream.send(tunnel.Ended(0, code)),
                    )
                elif isinstance(frame, tunnel.AddHosts):
                    self._add(stream, parse_list(frame.hosts))
        except ProtocolError:
            pass  # closed
        if stream.closed:
            self._selector.unregister(stream.fileno())
            stream.close()
