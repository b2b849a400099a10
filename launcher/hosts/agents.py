"""cmpirun's side of the other hosts: starts their agents through ssh, and relays between them and the root.
`HostLives` decides what happens to each host; `ReturningHosts` takes in those that come back or are added.

Single-threaded; only `gather`, `begin`, `ship` and `finish` block, and each has a time limit.
"""

from __future__ import annotations

import selectors
import sys

from cmpi._base.frozen import replace
from cmpi._core import host_lives
from cmpi._core.host_lives import HostLives
from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import handler
from cmpi._runtime.code_version import code_version
from cmpi._transport import clock
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher.hosts import host_checks
from cmpi.launcher.hosts.remote_host import SSH_S, RemoteHost
from cmpi.launcher.hosts.returning_hosts import ReturningHosts
from cmpi.launcher.hosts.root_tunnel import RootTunnel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.remote_host import Way

SHIP_S = 300.0  # how long a host may take to receive and unpack the program
ANSWER_S = 9.0  # how long agents may take to create the job's folders
PATIENCE_S = 2.0  # after this, cmpirun says which hosts it waits for
LEAVE_S = 2.5  # how long agents may take to end what is left of the job


class Agents:
    """All other hosts of a job.

    Args:
        specs: The hosts, without this one.
        way: Builds the command that runs a command there.
        python: The interpreter there, unless the hostfile names one.
        gather_s: How long agents may take to come up, in seconds.
        lost_s: A host is lost when its agent has sent nothing for this many seconds.

    Raises:
        LaunchError: The command that starts agents, such as ssh, cannot be run.
    """

    def __init__(
        self,
        specs: list[HostSpec],
        way: Way,
        python: str,
        gather_s: float = SSH_S,
        lost_s: float = launcher_agent.LOST_S,
    ) -> None:
        self._gather_s, self._lost_s = gather_s, lost_s
        self._selector = selectors.EpollSelector()
        self._to_root = RootTunnel(self._selector)
        self._commands: dict[int, tuple[Callable[[bytes], None], Callable[[int], None]]] = {}
        self._next = 1
        self._lives = HostLives(launcher_agent.BEAT_S, lost_s, clock.now_s())
        self.lost: Callable[[str, str], None] = lambda name, reason: None
        self.back: Callable[[str], None] = lambda name: None
        self._way, self._python, self._version = way, python, code_version()
        self._specs = {spec.name: spec for spec in specs}  # including hosts that were added
        self.hosts: dict[str, RemoteHost] = {}
        self._returning = ReturningHosts(
            self._lives,
            self._do,
            lambda host: host.tell(self._beginning(host)),
            self._take_in,
            lambda host: self._why_no_agent(host, "", ""),
        )
        self._begin: launcher_agent.Begin | None = None
        self._carry_out = self._actions()
        self._handlers = self._frames()
        self._handlers_of_returning = {**self._handlers, **self._returning.handlers()}
        try:
            for name in self._specs:
                self._do(self._lives.start(name, clock.now_s()))
        except OSError as error:
            raise LaunchError(f"cannot start {error.filename}: {error.strerror}") from None

    def fileno(self) -> int:
        """The descriptor to poll: call `serve` when it is ready, and at `deadline_s`."""
        return self._selector.fileno()

    @property
    def deadline_s(self) -> float:
        """When to call `serve` even if the descriptor is not ready."""
        return self._lives.deadline_s

    def serve(self, timeout_s: float = 0) -> None:
        """Relay what has come."""
        for key, events in self._selector.select(timeout_s):
            call, *arguments = key.data
            call(*arguments, events)
        self._do(self._lives.tick(clock.now_s()))

    def _up(self, host: RemoteHost) -> bool:
        return not host.gone and self._lives.state(host.spec.name) == host_lives.UP

    # -- the beginning -----------------------------------------------------------------------

    def gather(self, here: launcher_agent.HostFacts, mpi_kind: str) -> None:
        """Wait until all agents are up and able to take part.

        Raises:
            LaunchError: Some are not; there is a line for each with the reason and the remedy.

        Blocks: at most `gather_s`.
        """
        faults = [fault for fault in self.faults(here, mpi_kind).values() if fault]
        if faults:
            raise LaunchError("\n".join([f"{len(faults)} of the hosts cannot take part:", *faults]))

    def faults(self, here: launcher_agent.HostFacts, mpi_kind: str) -> dict[str, str]:
        """Wait for all agents; returns why each host cannot take part, or "". Blocks: as `gather`."""
        start_s = clock.now_s()
        told = False
        while waiting := [h.spec.name for h in self.hosts.values() if h.facts is None and not h.gone]:
            passed_s = clock.now_s() - start_s
            if passed_s >= self._gather_s:
                break
            if passed_s >= PATIENCE_S and not told:
                told = True
                print(f"cmpirun: waiting for {', '.join(waiting)}", file=sys.stderr, flush=True)
            self.serve(0.1)
        faults = {}
        machines = {here.node: here.machine}
        for name, host in self.hosts.items():
            if host.facts is None:
                fault = self._why_no_agent(host, mpi_kind, here.cmpi)
            else:
                fault = host_checks.differences(host.spec, host.facts, here)
                fault = fault or host_checks.same_machine(name, host.facts.machine, machines)
                machines[name] = host.facts.machine
            faults[name] = fault
        return faults

    def begin(self, begin: launcher_agent.Begin) -> None:
        """Have all agents create the job's folders and look for the program.

        Raises:
            LaunchError: An agent cannot, or does not answer.

        Blocks: for their answers.
        """
        self._to_root.address, self._to_root.key = begin.folder + "/root", begin.key
        self._begin = begin
        for host in self.hosts.values():
            host.tell(self._beginning(host))
        self._await_answers(list(self.hosts.values()), ANSWER_S)

    def _beginning(self, host: RemoteHost) -> launcher_agent.Begin:
        """The `Begin` frame for this host, with its working folder."""
        assert self._begin is not None
        begin: launcher_agent.Begin = replace(self._begin, cwd=host.spec.workdir or self._begin.cwd)
        return begin

    def ship(self, hosts: list[RemoteHost], pieces: Callable[[], Iterator[launcher_agent.Unpack]]) -> None:
        """Send an archive to these hosts, in parallel, and have them unpack it.

        Raises:
            LaunchError: A host cannot, or does not answer.

        Blocks: until all have answered; if that takes long, it tells the user.
        """
        for host in hosts:
            host.answer = None
            host.ship(pieces())
        self._await_answers(hosts, SHIP_S)

    def _await_answers(self, hosts: list[RemoteHost], limit_s: float) -> None:
        end_s = clock.now_s() + limit_s
        while any(host.answer is None and not host.gone for host in hosts):
            if clock.now_s() >= end_s:
                break
            self.serve(0.1)
        faults = [f"{h.spec.name}: {h.answer or 'has not answered'}" for h in hosts if h.answer != ""]
        if faults:
            raise LaunchError("\n".join(faults))

    # -- requests of cmpirun -------------------------------------------------------------------

    def run(
        self,
        name: str,
        argv: list[str],
        settings: list[str],
        said: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        """Run a command on a host.

        Args:
            name: The host; if it is not up, the command ends at once with 255.
            argv: The command.
            settings: "NAME=value", added to the job's environment.
            said: Called with the command's output.
            ended: Called with the command's exit code.
        """
        host = self.hosts.get(name)
        if host is None or not self._up(host):
            ended(255)
            return
        self._next += 2
        self._commands[self._next] = said, ended
        host.tell(launcher_agent.Run(self._next, argv, settings))

    @property
    def up(self) -> list[RemoteHost]:
        """The hosts that the job uses now."""
        return [host for host in self.hosts.values() if self._up(host)]

    def forget(self, name: str) -> None:
        """Close a lost host's connections; called once the root knows that it is lost."""
        host = self.hosts[name]
        for channel in list(host.channels):
            self._to_root.close(host, channel)
        self._do(self._lives.forgotten(name, clock.now_s()))

    def attend(
        self,
        check: Callable[[RemoteHost], str],
        provide: Callable[[RemoteHost], Iterator[launcher_agent.Unpack] | None],
    ) -> None:
        """Start watching hosts, now that there is a root to tell.

        A host that returns is used again if `check` finds no fault and once it has the program: `provide`
        returns what must be sent there, or None, and may raise CmpiError.
        """
        self._returning.attend(check, provide)
        self._do(self._lives.attend())

    def add(self, spec: HostSpec, answer: Callable[[str], None]) -> None:
        """Add a host; `answer` is called with "" when it is up, or with the reason why it cannot be
        added."""
        if not self._returning.expect(spec.name, answer):
            answer(f"{spec.name}: is already a host of this job")
            return
        if self._lives.state(spec.name) in ("", host_lives.LOST, host_lives.AWAY):
            self._specs[spec.name] = spec
        self._do(self._lives.add(spec.name, clock.now_s()))

    def has(self, name: str) -> bool:
        """Whether this is a host of the job, or about to become one."""
        return self._lives.state(name) != ""

    def remove(self, name: str) -> None:
        """Take a host out of the job; what runs there ends, as on a lost host."""
        self._do(self._lives.remove(name))

    def finish(self) -> None:
        """Have all agents end and clean up. Blocks: at most `LEAVE_S`."""
        self._returning.kill()
        for host in self.up:
            host.tell(launcher_agent.EndAgent())
        end_s = clock.now_s() + LEAVE_S
        while self.up and clock.now_s() < end_s:
            self.serve(0.05)
        for host in self.hosts.values():
            if host.ssh.poll() is None:
                host.ssh.kill()
            host.ssh.wait()

    # -- actions of the state machine ------------------------------------------------------------

    def _do(self, actions: list[host_lives.Action]) -> None:
        for action in actions:
            self._carry_out[type(action)](action)

    def _actions(self) -> dict[type, Callable[[Any], None]]:
        return {
            **self._returning.actions(),
            host_lives.StartAgent: self._start,
            host_lives.SendHeartbeat: lambda it: self.hosts[it.name].tell(launcher_agent.Beat()),
            host_lives.CloseSilent: lambda it: self.hosts[it.name].close(
                f"nothing has come from it for {self._lost_s:g} s"
            ),
            host_lives.DismissAgent: lambda it: self.hosts[it.name].tell(launcher_agent.EndAgent()),
            host_lives.ReportLost: lambda it: self.lost(it.name, it.reason or self._why_closed(it.name)),
        }

    def _start(self, action: host_lives.StartAgent) -> None:
        name, returns = action.name, self._lives.state(action.name) == host_lives.RETURNING
        try:
            host = RemoteHost(
                self._specs[name],
                self._way,
                self._python,
                self._version,
                self._selector,
                self._on_data,
                self._closed,
            )
        except OSError as error:
            if not returns:
                raise
            fault = f"{name}: cannot start {error.filename}: {error.strerror}"
            self._do(self._lives.not_started(name, fault))
            return
        if returns:
            self._returning.started(host)
        else:
            self.hosts[name] = host

    def _take_in(self, host: RemoteHost) -> None:
        self.hosts[host.spec.name] = host
        self.back(host.spec.name)

    def _why_no_agent(self, host: RemoteHost, mpi_kind: str, version: str) -> str:
        """Why there is no agent on a host."""
        code = host.ssh.wait() if host.gone else None
        if host.version not in ("", self._version):
            return host_checks.other_code(host.spec, host.version, self._version)
        return host_checks.no_agent(host.spec, host.python, mpi_kind, version, code, host.said)

    def _why_closed(self, name: str) -> str:
        said = self.hosts[name].said.strip().splitlines()
        return f"the connection by ssh has ended{': ' + said[-1] if said else ''}"

    # -- from the hosts ------------------------------------------------------------------------

    def _on_data(self, host: RemoteHost, data: bytes) -> None:
        self._lives.heard(host.spec.name, clock.now_s())
        try:
            for frame in host.frames(data):
                handlers = self._handlers_of_returning if host in self._returning else self._handlers
                handler(handlers, frame)(host, frame)
        except ProtocolError as error:
            host.close(f"its agent violates the protocol: {error}")

    def _frames(self) -> dict[type, Callable[..., None]]:
        """The handlers of frames from the agents of the job's hosts."""
        return {
            launcher_agent.HostFacts: self._came_up,
            launcher_agent.Beat: lambda host, _: None,  # a heartbeat needs no action
            launcher_agent.Begun: self._begun,
            launcher_agent.Unpacked: self._unpacked,
            launcher_agent.Looked: lambda host, frame: host.answered(frame),
            launcher_agent.Came: lambda host, frame: self._to_root.connect(host, frame.channel),
            launcher_agent.Piece: self._piece,
            launcher_agent.Shut: lambda host, frame: self._to_root.close(host, frame.channel),
            launcher_agent.CommandEnded: self._command_ended,
        }

    def _came_up(self, host: RemoteHost, frame: launcher_agent.HostFacts) -> None:
        host.facts = frame
        self._do(self._lives.up(host.spec.name))

    @staticmethod
    def _begun(host: RemoteHost, frame: launcher_agent.Begun) -> None:
        host.answer, host.has_program = frame.fault, frame.has_program

    @staticmethod
    def _unpacked(host: RemoteHost, frame: launcher_agent.Unpacked) -> None:
        if host.asked:
            host.answered(frame)  # while the job runs
        else:
            host.answer = frame.fault

    def _piece(self, host: RemoteHost, frame: launcher_agent.Piece) -> None:
        if frame.channel in host.channels:
            self._to_root.pass_on(host, frame.channel, frame.data)
        elif frame.channel in self._commands:
            self._commands[frame.channel][0](frame.data)

    def _command_ended(self, _: RemoteHost, frame: launcher_agent.CommandEnded) -> None:
        if frame.channel in self._commands:
            self._commands.pop(frame.channel)[1](frame.code)

    def _closed(self, host: RemoteHost, reason: str) -> None:
        name = host.spec.name
        self._do(self._lives.closed(name, reason))
        self._returning.closed(host)
