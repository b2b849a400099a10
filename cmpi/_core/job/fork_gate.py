"""Decides which starts use their host's fork server, and which wait until it has loaded its modules."""

from __future__ import annotations

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Launch, LaunchWorld, NeedForkServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from cmpi._core.job.process_record import Process
    from cmpi._core.protocol import process_root
    from cmpi._core.scheduling.host_room import Host

    Action: TypeAlias = Launch | LaunchWorld | NeedForkServer


class ForkGate:
    """The state machine. Methods are events and return actions."""

    def __init__(self, hosts: list[Host]) -> None:
        # By host; "" stands for the parent's interpreter.
        self._programs = {host.name: host.python for host in hosts}
        # By host: its interpreter, and whether it is "loading", "ready" or "dead".
        self._servers: dict[str, tuple[Interpreter, str]] = {}
        self._held: list[tuple[Launch, Interpreter, bool]] = []  # True: it needs no MPI world

    def need(self, host: str, interpreter: Interpreter) -> list[NeedForkServer]:
        """A process with this interpreter may spawn on this host, so the host needs a fork server."""
        if host in self._servers:
            return []
        self._servers[host] = interpreter, "loading"
        return [NeedForkServer(host, interpreter)]

    def ready(self, host: str) -> bool:
        """Whether the fork server of this host can fork."""
        return host in self._servers and self._servers[host][1] == "ready"

    def back(self, host: Host) -> None:
        """A host can be used: it has returned, or is new."""
        self._programs[host.name] = host.python

    def interpreter(self, host: str, parent: Process, order: process_root.Spawn) -> Interpreter:
        """The interpreter for a spawned process: the parent's with the changes ordered; on another host
        preferably the one that the fork server there runs."""
        wanted = parent.interpreter.with_changes(order.flags, order.settings)
        if host == parent.host:
            return wanted
        there = self._server(host)
        if wanted == parent.interpreter and there.program and there.flags == wanted.flags:
            return there
        return wanted.at(there.program or self._programs.get(host, "") or wanted.program)

    def _server(self, host: str) -> Interpreter:
        """The interpreter of the host's fork server; one without a program if there is no fork server."""
        return self._servers[host][0] if host in self._servers else Interpreter("")

    def launch(self, start: int, group: list[Process]) -> list[Action]:
        """Start closures, now or once the fork server has loaded; a group on several hosts is one world,
        started by exec."""
        hosts = [process.host for process in group]
        if len(set(hosts)) > 1:
            return [LaunchWorld(start, hosts)]
        order = group[0].order
        in_slot = len(group) == 1 and order is not None and not order.mpi
        pids = [process.pid for process in group]
        return self._launch(start, pids, hosts[0], group[0].interpreter, in_slot)

    def _launch(
        self, start: int, pids: list[int], host: str, interpreter: Interpreter, in_slot: bool
    ) -> list[Action]:
        actions: list[Action] = [*self.need(host, interpreter)]
        served, state = self._servers[host]
        forked = state == "ready" and interpreter == served
        launch = Launch(start, pids, host, forked, forked and in_slot)
        if state == "loading":
            self._held.append((launch, interpreter, in_slot))
            return actions
        return [*actions, launch]

    def turned(self, host: str, state: str) -> list[Action]:
        """The state of the fork server on this host has changed to "ready" or "dead"."""
        self._servers[host] = self._server(host), state
        due = [item for item in self._held if item[0].host == host]
        self._held = [item for item in self._held if item[0].host != host]
        return [a for x, it, alone in due for a in self._launch(x.start, x.pids, x.host, it, alone)]

    def lost(self, host: str) -> None:
        """The host is lost: hold no starts for it, and forget its fork server, which will not be there if
        the host returns."""
        self._servers.pop(host, None)
        self._held = [item for item in self._held if item[0].host != host]
