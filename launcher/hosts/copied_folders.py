"""The folders of deployed programs that cmpirun copies to the other hosts of its job.

Plain cmpirun sends its program before the job begins (see `multi_host`). Here the job runs: nothing may
block, and hosts come and go meanwhile.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from cmpi._core.protocol import command_launcher
from cmpi.errors import ProtocolError
from cmpi.launcher.hosts.staging import Shipment, pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from cmpi._transport.control_socket import ControlSocket
    from cmpi.launcher.hosts.agents import Agents
    from cmpi.launcher.hosts.remote_host import RemoteHost


class _Copy:
    """A folder that is copied to hosts: its archive, and how many of them have not answered."""

    def __init__(self, frame: command_launcher.CopyFolder, archive: IO[bytes]) -> None:
        self.frame, self.archive = frame, archive
        self.under_way = 0
        self.over = False  # its program is; what was copied is to be removed

    def send(self, host: RemoteHost, take: Callable[[str], None]) -> None:
        """Copy it to a host; `take` gets the reason why that failed, with the host's name, or ""."""
        self.under_way += 1

        def unpacked(fault: str) -> None:
            self.under_way -= 1
            take(f"{host.spec.name}: {fault}" if fault else "")

        host.copy(pieces(self.archive, Shipment("", self.frame.there)), unpacked)


class CopiedFolders:
    """All such folders. Nothing blocks.

    Args:
        agents: The other hosts.
    """

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._copies: dict[ControlSocket, _Copy] = {}

    def tell_lacking(self, stream: ControlSocket, frame: command_launcher.AskLacking) -> None:
        """Answer which hosts lack a program."""
        hosts = self._agents.up
        lacking: list[str] = []
        done = _after(len(hosts), lambda: stream.send(command_launcher.Lacking(lacking)))

        def looked(name: str, found: bool) -> None:
            if not found:
                lacking.append(name)
            done()

        for host in hosts:
            self._look(host, frame.program, partial(looked, host.spec.name))

    @staticmethod
    def _look(host: RemoteHost, program: str, take: Callable[[bool], None]) -> None:
        if program:
            host.look(program, take)
        else:
            take(False)

    def copy(self, stream: ControlSocket, frame: command_launcher.CopyFolder) -> None:
        """Copy a folder, and answer. Raises: ProtocolError."""
        fds = stream.descriptors()
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
            raise ProtocolError("a folder is copied once on a connection, with one descriptor")
        copy = self._copies[stream] = _Copy(frame, os.fdopen(fds[0], "rb"))
        hosts = [host for host in self._agents.up if host.spec.name in frame.hosts]
        faults: list[str] = []
        done = _after(len(hosts), lambda: stream.send(command_launcher.FolderCopied(faults)))

        def unpacked(fault: str) -> None:
            faults.extend([fault] if fault else [])
            done()
            self._remove(stream, copy)

        for host in hosts:
            copy.send(host, unpacked)

    def provide(self, host: RemoteHost, then: Callable[[], None]) -> None:
        """A host is new or was lost: copy what it lacks, and then call `then`."""
        done = _after(len(self._copies), then)

        def provide(stream: ControlSocket, copy: _Copy, found: bool) -> None:
            def unpacked(fault: str) -> None:
                if fault:
                    print(f"cmpirun: {fault}", file=sys.stderr)
                done()
                self._remove(stream, copy)

            if found or copy.over:
                done()
            else:
                copy.send(host, unpacked)

        for stream, copy in list(self._copies.items()):
            self._look(host, copy.frame.program, partial(provide, stream, copy))

    def closed(self, stream: ControlSocket) -> None:
        """A connection has ended. If there was a copy, its program is over; or it goes on without its
        cmpirun, and the copy stays."""
        copy = self._copies.get(stream)
        if copy is not None and not copy.frame.keep:
            copy.over = True
            self._remove(stream, copy)

    def close(self) -> None:
        """The job is over; its hosts remove everything themselves."""
        for copy in self._copies.values():
            copy.archive.close()

    def _remove(self, stream: ControlSocket, copy: _Copy) -> None:
        """Remove a copy from the hosts, once it is over and none is sent any more."""
        if not copy.over or copy.under_way or stream not in self._copies:
            return
        del self._copies[stream]
        copy.archive.close()
        command = ["rm", "-rf", copy.frame.there]
        for host in self._agents.up:
            self._agents.run(host.spec.name, command, [], lambda said: None, lambda code: None)


def _after(n: int, then: Callable[[], None]) -> Callable[[], None]:
    """A function whose n-th call calls `then`; if n is 0, `then` is called at once."""
    left = n

    def one() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            then()

    if n == 0:
        then()
    return one
