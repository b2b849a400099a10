"""Decides which starts use their host's fork server, and which wait until it has loaded its modules."""

from __future__ import annotations

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Launch, LaunchWorld, NeedForkServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from cmpi._core.job.host_room import Host
    from cmpi._core.job.process_record import Process
    from cmpi._core.protocol import process_root

    Action: TypeAlias = Launch | LaunchWorld | NeedForkServer


class ForkGate:
    """The machine. Methods are events and return actions."""

    def __init__(self, hosts: list[Host]) -> None:
        self._programs = {host.name: host.python for host in hosts}  # "": as where the parent runs
        # By host: its interpreter, and whether it is "loading", "ready" or "dead".
        self._servers: dict[str, tuple[Interpreter, str]] = {}
        self._held: list[tuple[Launch, Interpreter, bool]] = []  # true: it needs no MPI world of its own

    def need(self, host: str, interpreter: Interpreter) -> list[NeedForkServer]:
        """Somebody who runs this interpreter may spawn there."""
        if host in self._servers:
            return []
        self._servers[host] = interpreter, "loading"
        return [NeedForkServer(host, interpreter)]

    def ready(self, host: str) -> bool:
        """Whether the fork server of this host can fork."""
        return host in self._servers and self._servers[host][1] == "ready"

    def back(self, host: Host) -> None:
        """A host can be used, again or as a new one."""
        self._programs[host.name] = host.python

    def interpreter(self, host: str, parent: Process, order: process_root.Spawn) -> Interpreter:
        """The parent's, for what it has ordered; on another host one that runs there already."""
        wanted = parent.interpreter.with_changes(order.flags, order.settings)
        if host == parent.host:
            return wanted
        there = self._server(host)
        if wanted == parent.interpreter and there.program and there.flags == wanted.flags:
            return there
        return wanted.at(there.program or self._programs.get(host, "") or wanted.program)

    def _server(self, host: str) -> Interpreter:
        """The interpreter of the host's fork server; one without a program if there is none."""
        return self._servers[host][0] if host in self._servers else Interpreter("")

    def launch(self, start: int, group: list[Process]) -> list[Action]:
        """Start closures, now or as soon as it is clear how; on several hosts, as one world, by exec."""
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
        """The fork server of this host is "ready" or "dead"."""
        self._servers[host] = self._server(host), state
        due = [item for item in self._held if item[0].host == host]
        self._held = [item for item in self._held if item[0].host != host]
        return [a for x, it, alone in due for a in self._launch(x.start, x.pids, x.host, it, alone)]

    def lost(self, host: str) -> None:
        """Nothing is to be started there any more; should it come back, it has no fork server."""
        self._servers.pop(host, None)
        self._held = [item for item in self._held if item[0].host != host]
