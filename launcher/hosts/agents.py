"""cmpirun's side of the other hosts: their agents, started by ssh, and what goes to and fro between
those and the root. One thread; nothing here blocks but `gather`, `begin` and `finish`, within limits.
"""

from __future__ import annotations

import selectors
import sys
import time

from cmpi._base.frozen import replace
from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import encode
from cmpi.errors import CmpiError, LaunchError, ProtocolError
from cmpi.launcher.hosts import host_checks
from cmpi.launcher.hosts.remote_host import RemoteHost
from cmpi.launcher.hosts.root_tunnel import RootTunnel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.remote_host import Way

SHIP_S = 300.0  # for a host to receive and unpack the program
SHIP_AHEAD_BYTES = 8 << 20  # of it, that may wait to be written
RETRY_S = 5.0  # between looks for a host that is lost
GATHER_S = 9.0  # for all agents to come up
PATIENCE_S = 2.0  # before the person is told who is waited for
LEAVE_S = 2.5  # for agents to end what is left, once the job is over


class Agents:
    """All other hosts of a job.

    Args:
        specs: The hosts, without this one.
        way: How a command gets there.
        python: The interpreter there, where the hostfile names none.
    """

    def __init__(self, specs: list[HostSpec], way: Way, python: str) -> None:
        self._selector = selectors.EpollSelector()
        self._to_root = RootTunnel(self._selector, self._tell)
        self._commands: dict[int, tuple[Callable[[bytes], None], Callable[[int], None]]] = {}
        self._next = 1
        self._beat_s = time.monotonic()
        self.lost: Callable[[str, str], None] = lambda name, reason: None
        self.back: Callable[[str], None] = lambda name: None
        self._way, self._python = way, python
        self._retry_s: dict[str, float] = {}  # when to look again for a host that is lost
        self._returning: dict[str, RemoteHost] = {}
        self._begin: launcher_agent.Begin | None = None
        self._check: Callable[[RemoteHost], str] | None = None
        self._provide: Callable[[RemoteHost], Iterator[launcher_agent.Unpack] | None] = lambda host: None
        self._told: dict[str, Callable[[str], None]] = {}  # who waits for a host to be added
        try:
            self.hosts = {spec.name: RemoteHost(spec, way, python) for spec in specs}
        except OSError as error:
            raise LaunchError(f"cannot start {error.filename}: {error.strerror}") from None
        for host in self.hosts.values():
            self._listen_to(host)

    def fileno(self) -> int:
        """The descriptor, for poll: call `serve` when it is ready, and at `deadline_s`."""
        return self._selector.fileno()

    @property
    def deadline_s(self) -> float:
        """When `serve` has something to do, even if nothing comes."""
        return self._beat_s + launcher_agent.BEAT_S

    def serve(self, timeout_s: float = 0) -> None:
        """Pass on what there is."""
        for key, events in self._selector.select(timeout_s):
            call, *arguments = key.data
            call(*arguments, events)
        now_s = time.monotonic()
        if now_s >= self.deadline_s:
            self._beat_s = now_s
            for host in self.hosts.values():
                if host.up:
                    self._tell(host, launcher_agent.Beat())
                    if now_s >= host.heard_s + launcher_agent.LOST_S:
                        self._lose(host, f"it has not been heard of for {launcher_agent.LOST_S:.0f} s")
            self._look_for_lost(now_s)

    def _listen_to(self, host: RemoteHost) -> None:
        self._watch(host.pipe.readable, self._hear, host)
        self._watch(host.errors.readable, self._hear_errors, host)

    def _watch(self, fd: int, *call: Any, events: int = selectors.EVENT_READ) -> None:
        self._selector.register(fd, events, call)

    # -- the beginning -----------------------------------------------------------------------

    def gather(self, here: launcher_agent.HostFacts, mpi_kind: str) -> None:
        """Wait until all agents are up and fit to take part.

        Raises:
            LaunchError: Some are not; a line for each says why, and what mends it.

        Blocks: at most `GATHER_S`.
        """
        faults = [fault for fault in self.faults(here, mpi_kind).values() if fault]
        if faults:
            raise LaunchError("\n".join([f"{len(faults)} of the hosts cannot take part:", *faults]))

    def faults(self, here: launcher_agent.HostFacts, mpi_kind: str) -> dict[str, str]:
        """Why each host cannot take part, "" if it can, once all agents are up. Blocks: as `gather`."""
        start_s = time.monotonic()
        told = False
        while waiting := [h.spec.name for h in self.hosts.values() if h.facts is None and not h.gone]:
            passed_s = time.monotonic() - start_s
            if passed_s >= GATHER_S:
                break
            if passed_s >= PATIENCE_S and not told:
                told = True
                print(f"cmpirun: waiting for {', '.join(waiting)}", file=sys.stderr, flush=True)
            self.serve(0.1)
        faults = {}
        for name, host in self.hosts.items():
            if host.facts is None:
                code = host.ssh.wait() if host.gone else None
                said = host.said.decode("utf-8", "replace")
                fault = host_checks.no_agent(host.spec, host.python, mpi_kind, here.cmpi, code, said)
            else:
                fault = host_checks.differences(host.spec, host.facts, here)
            faults[name] = fault
        return faults

    def begin(
        self,
        folder: str,
        shared_memory: str,
        environment: dict[str, str],
        cwd: str,
        program: str,
        key: bytes,
    ) -> None:
        """Have all agents make the job's folders, and look for the program.

        Raises:
            LaunchError: One cannot.

        Blocks: for their answers.
        """
        self._to_root.address = folder + "/root"
        settings = [f"{name}={value}" for name, value in environment.items()]
        self._begin = launcher_agent.Begin(
            folder=folder,
            shared_memory=shared_memory,
            environment=settings,
            cwd=cwd,
            program=program,
            key=key,
        )
        for host in self.hosts.values():
            self._tell(host, self._beginning(host))
        self._await_answers(list(self.hosts.values()), GATHER_S)

    def _beginning(self, host: RemoteHost) -> launcher_agent.Begin:
        """What is said to all, with the folder that this one has for the job."""
        assert self._begin is not None
        begin: launcher_agent.Begin = replace(self._begin, cwd=host.spec.workdir or self._begin.cwd)
        return begin

    def ship(self, hosts: list[RemoteHost], pieces: Callable[[], Iterator[launcher_agent.Unpack]]) -> None:
        """Have these hosts unpack an archive, side by side.

        Raises:
            LaunchError: One cannot.

        Blocks: for that, with a word about it if it takes long.
        """
        for host in hosts:
            self._ship(host, pieces())
        self._await_answers(hosts, SHIP_S)

    def _ship(self, host: RemoteHost, pieces: Iterator[launcher_agent.Unpack]) -> None:
        host.answer, host.shipping = None, pieces
        self._ship_on(host)

    def _ship_on(self, host: RemoteHost) -> None:
        """Send as much of the archive as may wait to be written."""
        while len(host.pipe.unsent) <= SHIP_AHEAD_BYTES:
            piece = next(host.shipping, None)
            if piece is None:
                break
            self._tell(host, piece)

    def _await_answers(self, hosts: list[RemoteHost], limit_s: float) -> None:
        end_s = time.monotonic() + limit_s
        while any(host.answer is None and not host.gone for host in hosts):
            if time.monotonic() >= end_s:
                break
            self.serve(0.1)
        faults = [f"{h.spec.name}: {h.answer or 'has not answered'}" for h in hosts if h.answer != ""]
        if faults:
            raise LaunchError("\n".join(faults))

    # -- what cmpirun wants --------------------------------------------------------------------

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
            name: The host; of one that is not up, the command ends at once with 255.
            argv: The command.
            settings: "NAME=value", on top of the job's environment.
            said: Called with what it writes.
            ended: Called with its exit code.
        """
        host = self.hosts.get(name)
        if host is None or not host.up:
            ended(255)
            return
        self._next += 2
        self._commands[self._next] = said, ended
        self._tell(host, launcher_agent.Run(self._next, argv, settings))

    def forget(self, name: str) -> None:
        """The root knows that this host is lost: its connections may be closed."""
        host = self.hosts[name]
        for channel in list(host.channels):
            self._to_root.close(host, channel)

    def may_return(
        self,
        check: Callable[[RemoteHost], str],
        provide: Callable[[RemoteHost], Iterator[launcher_agent.Unpack] | None],
    ) -> None:
        """From now on look for hosts that are lost, and take in those in which `check` finds no fault, once
        they have the program: `provide` gives what must be sent there, or None. It may raise CmpiError."""
        self._check, self._provide = check, provide

    def add(self, spec: HostSpec, answer: Callable[[str], None]) -> None:
        """Take in one more host; `answer` is called with why not, or with "" when it is there."""
        if spec.name in self._returning or (spec.name in self.hosts and not self.hosts[spec.name].gone):
            answer(f"{spec.name}: is a host of this job already")
            return
        self._told[spec.name] = answer
        self._try(spec)

    def _answer(self, name: str, fault: str) -> None:
        answer = self._told.pop(name, None)
        if answer is not None:
            answer(fault)

    def _try(self, spec: HostSpec) -> None:
        self._returning[spec.name] = host = RemoteHost(spec, self._way, self._python)
        self._listen_to(host)

    def _look_for_lost(self, now_s: float) -> None:
        for name, host in self.hosts.items():
            if self._check is None or not host.gone or host.channels:
                continue  # the root has not been told, or has not answered
            if now_s >= self._retry_s.setdefault(name, now_s + RETRY_S) and name not in self._returning:
                self._retry_s[name] = now_s + RETRY_S
                self._try(host.spec)

    def _return(self, host: RemoteHost, frame: Any) -> None:
        """The agent of a host that is new, or was lost, says something."""
        name = host.spec.name
        if isinstance(frame, launcher_agent.HostFacts):
            host.facts = frame
            assert self._check is not None
            host.answer = self._check(host)
            if not host.answer:
                self._tell(host, self._beginning(host))
        elif isinstance(frame, launcher_agent.Begun):
            host.answer, host.has_program = (
                frame.fault and f"{name}: {frame.fault}",
                frame.has_program,
            )
            if not host.answer:
                self._equip(host)
        elif isinstance(frame, launcher_agent.Unpacked):
            host.answer = frame.fault and f"{name}: {frame.fault}"
            if not host.answer:
                self._take_in(host)
        if host.answer:
            host.ssh.kill()  # the end of which will be read

    def _equip(self, host: RemoteHost) -> None:
        """Send the program to a host that lacks it, and take it in."""
        try:
            pieces = self._provide(host)
        except CmpiError as error:
            host.answer = f"{host.spec.name}: {error}"
            return
        if pieces is None:
            self._take_in(host)
        else:
            self._ship(host, pieces)

    def _take_in(self, host: RemoteHost) -> None:
        name = host.spec.name
        del self._returning[name]
        self._retry_s.pop(name, None)
        self.hosts[name] = host
        self.back(name)
        self._answer(name, "")

    def finish(self) -> None:
        """Have all agents end and clean up. Blocks: at most `LEAVE_S`."""
        for host in self._returning.values():
            host.ssh.kill()
            host.ssh.wait()
        for host in self.hosts.values():
            if host.up:
                self._tell(host, launcher_agent.EndAgent())
        end_s = time.monotonic() + LEAVE_S
        while any(host.up for host in self.hosts.values()) and time.monotonic() < end_s:
            self.serve(0.05)
        for host in self.hosts.values():
            if host.ssh.poll() is None:
                host.ssh.kill()
            host.ssh.wait()

    # -- from the hosts ------------------------------------------------------------------------

    def _tell(self, host: RemoteHost, frame: Any) -> None:
        waited = bool(host.pipe.unsent)
        try:
            host.pipe.write(encode(frame))
        except OSError:
            return  # the end of its stdout will be read
        if host.pipe.unsent and not waited:
            self._watch(host.pipe.writable, self._write_on, host, events=selectors.EVENT_WRITE)

    def _write_on(self, host: RemoteHost, _: int) -> None:
        try:
            host.pipe.write(b"")
        except OSError:
            host.pipe.unsent.clear()
        if not host.pipe.unsent:
            self._selector.unregister(host.pipe.writable)
        self._ship_on(host)

    def _hear(self, host: RemoteHost, _: int) -> None:
        data = host.pipe.read()
        if data is None:
            return
        if not data:
            self._lose(host, "")
            return
        host.heard_s = time.monotonic()
        try:
            for frame in host.frames(data):
                returning = self._returning.get(host.spec.name) is host
                (self._return if returning else self._act)(host, frame)
        except ProtocolError as error:
            self._lose(host, f"its agent does not keep to the protocol: {error}")

    def _act(self, host: RemoteHost, frame: Any) -> None:
        if isinstance(frame, launcher_agent.HostFacts):
            host.facts = frame
        elif isinstance(frame, launcher_agent.Begun):
            host.answer, host.has_program = frame.fault, frame.has_program
        elif isinstance(frame, launcher_agent.Unpacked):
            host.answer = frame.fault
        elif isinstance(frame, launcher_agent.Came):
            self._to_root.connect(host, frame.channel)
        elif isinstance(frame, launcher_agent.Piece):
            if frame.channel in host.channels:
                self._to_root.pass_on(host, frame.channel, frame.data)
            elif frame.channel in self._commands:
                self._commands[frame.channel][0](frame.data)
        elif isinstance(frame, launcher_agent.Shut):
            self._to_root.close(host, frame.channel)
        elif isinstance(frame, launcher_agent.CommandEnded) and frame.channel in self._commands:
            self._commands.pop(frame.channel)[1](frame.code)

    def _hear_errors(self, host: RemoteHost, _: int) -> None:
        data = host.errors.read()
        if data:
            host.said = (host.said + data)[-65536:]
        elif data == b"" and not host.silent:
            host.silent = True
            self._selector.unregister(host.errors.readable)

    def _lose(self, host: RemoteHost, reason: str) -> None:
        if host.gone:
            return
        host.gone = True
        was_up = host.facts is not None
        self._selector.unregister(host.pipe.readable)
        if host.pipe.unsent:
            self._selector.unregister(host.pipe.writable)
            host.pipe.unsent.clear()
        if reason:
            host.ssh.kill()
        self._hear_errors(host, 0)
        if self._returning.get(host.spec.name) is host:
            del self._returning[host.spec.name]
            code, words = host.ssh.wait(), host.said.decode("utf-8", "replace")
            fault = host.answer or host_checks.no_agent(host.spec, host.python, "", "", code, words)
            self._answer(host.spec.name, fault)
            return
        if not was_up:
            return
        said = host.said.decode("utf-8", "replace").strip().splitlines()
        self.lost(
            host.spec.name, reason or f"the connection by ssh has ended{': ' + said[-1] if said else ''}"
        )
