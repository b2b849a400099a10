"""Hosts that come back or are added while a job runs: each is checked, told of the job and sent the program
before the job uses it. `HostLives` decides the steps; this carries them out."""

from __future__ import annotations

from cmpi._core import host_lives
from cmpi._core.protocol import launcher_agent
from cmpi.errors import CmpiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cmpi._core.host_lives import Action, HostLives
    from cmpi.launcher.hosts.remote_host import RemoteHost


class ReturningHosts:
    """The hosts that have an agent again, and that the job does not use yet.

    Args:
        lives: Decides what happens to each host.
        do: Carries out actions of `lives`.
        begin: Tells an agent about the job.
        up: Called with a host that the job can use from now on.
        why_no_agent: Says why a host has no agent.
    """

    def __init__(
        self,
        lives: HostLives,
        do: Callable[[list[Action]], None],
        begin: Callable[[RemoteHost], None],
        up: Callable[[RemoteHost], None],
        why_no_agent: Callable[[RemoteHost], str],
    ) -> None:
        self._lives, self._do = lives, do
        self._begin, self._up, self._why_no_agent = begin, up, why_no_agent
        self._hosts: dict[str, RemoteHost] = {}
        self._answers: dict[str, Callable[[str], None]] = {}  # of requests to add a host
        self._check: Callable[[RemoteHost], str] = lambda host: ""
        self._provide: Callable[[RemoteHost], Iterator[launcher_agent.Unpack] | None] = lambda host: None

    def attend(
        self,
        check: Callable[[RemoteHost], str],
        provide: Callable[[RemoteHost], Iterator[launcher_agent.Unpack] | None],
    ) -> None:
        """Take hosts from now on; see `Agents.attend`."""
        self._check, self._provide = check, provide

    def expect(self, name: str, answer: Callable[[str], None]) -> bool:
        """Call `answer` when the host was added or could not be; False: it is being added already."""
        if name in self._answers:
            return False
        self._answers[name] = answer
        return True

    def started(self, host: RemoteHost) -> None:
        """An agent was started on this host."""
        self._hosts[host.spec.name] = host

    def closed(self, host: RemoteHost) -> None:
        """The connection with this host's agent has ended, and `lives` knows it."""
        if host in self:
            del self._hosts[host.spec.name]

    def kill(self) -> None:
        """Kill the agents of all these hosts. Blocks: until the commands that run them have ended."""
        for host in self._hosts.values():
            host.ssh.kill()
            host.ssh.wait()

    def __contains__(self, host: RemoteHost) -> bool:
        return self._hosts.get(host.spec.name) is host

    def actions(self) -> dict[type, Callable[[Any], None]]:
        """What carries out each action for these hosts."""
        return {
            host_lives.KillAgent: lambda it: self._hosts[it.name].ssh.kill(),  # whose end will be read
            host_lives.CheckHost: self._check_host,
            host_lives.DescribeJob: lambda it: self._begin(self._hosts[it.name]),
            host_lives.SendProgram: self._send_program,
            host_lives.ReportUp: lambda it: self._up(self._hosts.pop(it.name)),
            host_lives.AnswerAdd: self._answer,
        }

    def handlers(self) -> dict[type, Callable[..., None]]:
        """The handlers of frames from these hosts' agents."""
        return {launcher_agent.Begun: self._begun, launcher_agent.Unpacked: self._unpacked}

    def _check_host(self, action: host_lives.CheckHost) -> None:
        fault = self._check(self._hosts[action.name])
        self._do(self._lives.checked(action.name, fault))

    def _begun(self, host: RemoteHost, frame: launcher_agent.Begun) -> None:
        host.has_program = frame.has_program
        self._do(self._lives.begun(host.spec.name, _of(host, frame.fault)))

    def _send_program(self, action: host_lives.SendProgram) -> None:
        host = self._hosts[action.name]
        try:
            pieces = self._provide(host)
        except CmpiError as error:
            self._do(self._lives.provided(action.name, _of(host, str(error))))
            return
        if pieces is None:
            self._do(self._lives.provided(action.name, ""))
        else:
            host.ship(pieces)

    def _unpacked(self, host: RemoteHost, frame: launcher_agent.Unpacked) -> None:
        self._do(self._lives.provided(host.spec.name, _of(host, frame.fault)))

    def _answer(self, action: host_lives.AnswerAdd) -> None:
        fault = action.fault
        if fault is None:
            fault = self._why_no_agent(self._hosts[action.name])
        self._answers.pop(action.name)(fault)


def _of(host: RemoteHost, fault: str) -> str:
    return fault and f"{host.spec.name}: {fault}"
