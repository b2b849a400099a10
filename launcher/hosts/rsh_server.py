"""The socket on which a running cmpirun takes requests.

They come from `rsh_client.py`, to run mpiexec's daemons on other hosts, from `cmpirun --add-host` and
`--add-slurm`, and from `cmpirun --in`, to copy its program to other hosts.
"""

from __future__ import annotations

import selectors

from cmpi._base.frozen import replace
from cmpi._core.protocol import command_launcher, launcher_agent
from cmpi._core.protocol.wire import handler
from cmpi._transport import clock, control_socket
from cmpi._transport.door import Door, listen
from cmpi.errors import ProtocolError
from cmpi.launcher.hosts.hostfile import parse_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.protocol.authentication import Key
    from cmpi.launcher.hosts.agents import Agents
    from cmpi.launcher.hosts.copied_folders import CopiedFolders


class RshServer:
    """Serves `rsh_client.py`, which mpiexec runs in place of ssh, `cmpirun --add-host` and `cmpirun --in`.

    Args:
        folder: The job's folder, which has the socket.
        key: The job's secret.
        agents: The hosts.
        copied: The folders of deployed programs.
        noise: Called with the commands' output.
    """

    def __init__(
        self,
        folder: str,
        key: Key,
        agents: Agents,
        copied: CopiedFolders,
        noise: Callable[[bytes], None],
    ) -> None:
        self._agents, self._copied, self._noise = agents, copied, noise
        self._selector = selectors.EpollSelector()
        self._lent: dict[control_socket.ControlSocket, list[str]] = {}  # the hosts that leave with it
        self._giving_back: list[control_socket.ControlSocket] = []
        self._handlers: dict[type, Callable[[control_socket.ControlSocket, Any], None]] = {
            command_launcher.RunThere: self._run,
            command_launcher.AddHosts: self._add,
            command_launcher.GiveBack: lambda stream, _: self._give_back(stream),
            command_launcher.AskLacking: copied.tell_lacking,
            command_launcher.CopyFolder: copied.copy,
        }
        self._door = Door(listen(folder + "/rsh"), key)
        self._selector.register(self._door, selectors.EVENT_READ, (self._admit,))

    def fileno(self) -> int:
        """The descriptor to poll: call `serve` when it is ready, and now and then."""
        return self._selector.fileno()

    def serve(self) -> None:
        """Accept and serve clients."""
        self._admit()
        self._answer_given_back()
        for key, _ in self._selector.select(0):
            call, *arguments = key.data
            call(*arguments)

    def _admit(self) -> None:
        for sock in self._door.admit(clock.now_s()):
            stream = control_socket.ControlSocket(sock, command_launcher.TO_LAUNCHER)
            stream.take_descriptors()
            self._selector.register(stream, selectors.EVENT_READ, (self._on_input, stream))

    def _run(self, stream: control_socket.ControlSocket, frame: command_launcher.RunThere) -> None:
        def ended(code: int) -> None:
            stream.send(launcher_agent.CommandEnded(0, code))

        self._agents.run(frame.host, frame.argv, [], self._noise, ended)

    def _add(self, stream: control_socket.ControlSocket, frame: command_launcher.AddHosts) -> None:
        hosts = parse_list(frame.hosts)
        if frame.allocation:
            hosts = [replace(host, allocation=frame.allocation) for host in hosts]
        answers: list[str] = []

        def answered(fault: str) -> None:
            answers.append(fault)
            if len(answers) == len(hosts):
                stream.send(command_launcher.Added([each for each in answers if each]))

        for spec in hosts:
            if spec.allocation and not self._agents.has(spec.name):
                self._lent.setdefault(stream, []).append(spec.name)
            self._agents.add(spec, answered)

    def _give_back(self, stream: control_socket.ControlSocket) -> None:
        self._giving_back.append(stream)
        self._remove(stream)

    def _remove(self, stream: control_socket.ControlSocket) -> None:
        for name in self._lent.get(stream, ()):
            self._agents.remove(name)

    def _answer_given_back(self) -> None:
        for stream in list(self._giving_back):
            if not any(self._agents.has(name) for name in self._lent.get(stream, ())):
                self._giving_back.remove(stream)
                stream.send(command_launcher.Added([]))

    def _on_input(self, stream: control_socket.ControlSocket) -> None:
        try:
            for frame in stream.receive():
                handler(self._handlers, frame)(stream, frame)
        except ProtocolError:
            stream.closed = True
        if stream.closed:
            self._remove(stream)
            self._lent.pop(stream, None)
            self._copied.closed(stream)
            self._selector.unregister(stream.fileno())
            stream.close()
