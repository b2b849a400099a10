"""cmpirun's view of a job on several hosts: the hosts, and the root's requests to run things there."""

from __future__ import annotations

import os
import select
import shlex
import sys

from cmpi._base.units import CPU_UNIT
from cmpi._core.fabric import choice
from cmpi._core.protocol import launcher_agent, launcher_root
from cmpi._core.protocol.wire import encode
from cmpi._core.scheduling.placement import runs
from cmpi._runtime import environment as names
from cmpi._runtime.programs import FABRIC_MAIN, ROOT_MAIN, RSH_CLIENT, SPAWN_STUB, path_of
from cmpi.errors import UsageError
from cmpi.launcher.hosts import addresses, host_checks
from cmpi.launcher.hosts.agents import Agents
from cmpi.launcher.hosts.copied_folders import CopiedFolders
from cmpi.launcher.hosts.fabric_world import FabricWorld
from cmpi.launcher.hosts.rsh_server import RshServer
from cmpi.launcher.hosts.staging import Shipment, pack, pieces, program_file
from cmpi.launcher.hosts.world_process import NOISE_BYTES, WorldProcess
from cmpi.launcher.mpi import mpiexec
from cmpi.launcher.mpi.find_mpi import Mpi
from cmpi.launcher.mpi.launcher_output import why_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from cmpi._core.protocol.authentication import Key
    from cmpi._core.protocol.launcher_agent import HostFacts
    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.remote_host import RemoteHost, Way


class MultiHost:
    """The hosts of a job.

    Args:
        specs: All hosts, as the user named them.
        local: The name of this host, whether it is one of them or not.
        mpi: The MPI in use.
        way: Builds the command that runs a command on a host.
        mpi_args: Further arguments for every mpiexec.
        gather_s: How long the agents of all hosts may take to come up, in seconds.
        lost_s: A host is lost when nothing has come from it for this many seconds.
        interface: The network interface or network to use; "": any.
        fabric: The value of --fabric.

    Raises:
        LaunchError: Some hosts cannot take part.
    """

    def __init__(
        self,
        specs: list[HostSpec],
        local: str,
        mpi: Mpi,
        way: Way,
        mpi_args: list[str],
        *,
        gather_s: float,
        lost_s: float,
        interface: str,
        fabric: str,
    ) -> None:
        from cmpi.launcher.hosts.agent_main import facts

        self.local, self._mpi = local, mpi
        self._mpi_args, self._lost_s, self._interface = mpi_args, lost_s, interface
        others = [spec for spec in specs if spec.name != local]
        self._here = facts(mpi.mpiexec)
        self.agents = Agents(others, way, sys.executable, gather_s, lost_s)
        try:
            self.agents.gather(self._here, mpi.kind)
        except BaseException:
            self.agents.finish()
            raise
        seen = {spec.name: self._facts(spec.name).fabric for spec in specs}
        self.fabric = FabricWorld(choice.hosts(fabric, seen), self._start_fabric)
        self._rsh_server: RshServer | None = None
        self._copied = CopiedFolders(self.agents)
        self._archive: IO[bytes] | None = None  # of the program's folder, if a host lacks it
        self._shipment: Shipment | None = None
        self._shipped: set[str] = set()  # the hosts that have it
        self._argv, self._cwd, self._ship = list[str](), "", ""
        self._folder = self._program = ""
        self._environment: dict[str, str] = {}
        self._worlds: dict[int, WorldProcess] = {}  # by start
        self._tell_root: Callable[[Any], None] = lambda frame: None
        self.noise: Callable[[bytes], None] = lambda data: None

    def begin(
        self,
        folder: str,
        shared_memory: str,
        environment: dict[str, str],
        cwd: str,
        argv: list[str],
        ship: str,
        key: Key,
    ) -> None:
        """Create the job's folders on all hosts, and send the program: to all if the user named a folder,
        else to those that lack it. Raises: CmpiError."""
        self._argv, self._cwd, self._environment = argv, cwd, environment
        self._folder, self._ship, self._program = folder, ship, program_file(argv, cwd)
        rsh = folder + "/rsh.sh"
        environment.update(mpiexec.several_settings(self._mpi, rsh))
        command = [sys.executable, "-I", "-S", path_of(RSH_CLIENT)]
        with open(os.open(rsh, os.O_WRONLY | os.O_CREAT, 0o700), "w") as script:
            script.write(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        self._rsh_server = RshServer(folder, key, self.agents, self._copied, lambda data: self.noise(data))
        begin = launcher_agent.Begin(
            folder=folder,
            shared_memory=shared_memory,
            environment=[f"{name}={value}" for name, value in environment.items()],
            cwd=cwd,
            program=self._program,
            key=bytes(key),
            lost_s=self._lost_s + launcher_agent.LEAVE_LATER_S,
        )
        self.agents.begin(begin)
        lacking = [host for host in self.agents.hosts.values() if self._lacks_program(host)]
        if lacking:
            archive, shipment = self._packed()
            self.agents.ship(lacking, lambda: pieces(archive, shipment))
            self._shipped = {host.spec.name for host in lacking}

    def _lacks_program(self, host: RemoteHost) -> bool:
        return not host.spec.workdir and bool(self._ship or not host.has_program)

    def _packed(self) -> tuple[IO[bytes], Shipment]:
        """The archive of the program's folder, packed once. Raises: UsageError."""
        if self._archive is None or self._shipment is None:
            source = os.path.abspath(self._ship) if self._ship else os.path.dirname(self._program)
            self._archive, name = pack(source, asked=bool(self._ship))
            self._shipment = Shipment(source, f"{self._folder}/{name}")
        return self._archive, self._shipment

    def _provide(self, host: RemoteHost) -> Iterator[launcher_agent.Unpack] | None:
        """What must be sent to a host that is new or was lost; None: nothing. Raises: UsageError."""
        if not self._lacks_program(host):
            self._shipped.discard(host.spec.name)
            return None
        self._shipped.add(host.spec.name)
        return pieces(*self._packed())

    def described(self, specs: list[HostSpec]) -> bytes:
        """The hosts, encoded for the root. Raises: UsageError: One lacks the network interface."""
        callers = self._callers()
        frames = []
        for spec in specs:
            cwd, argv = [spec.workdir] if spec.workdir else [], list[str]()
            if self._shipment is not None and spec.name in self._shipped:
                inside = self._shipment.path(self._cwd, "/")
                cwd = [inside if inside != self._cwd else self._shipment.there]
                argv = self._shipment.argv(self._argv, self._cwd)
            there = self._facts(spec.name)
            cpu_units, memory_bytes = self.room(spec)
            seen = callers if spec.name == self.local else there.address.split()[:1]
            frames.append(
                launcher_root.HostIs(
                    name=spec.name,
                    address=" ".join(addresses.choose(spec.name, seen, there.interfaces, self._interface)),
                    python=there.executable,
                    cwd=cwd,
                    argv=argv,
                    cpu_units=cpu_units,
                    memory_bytes=memory_bytes,
                    cores=there.cores,
                )
            )
        return b"".join(map(encode, frames))

    def _callers(self) -> list[str]:
        """The addresses of this host from which ssh has come to the others, as they see it."""
        seen = [host.facts.address.split() for host in self.agents.hosts.values() if host.facts]
        return list(dict.fromkeys(pair[1] for pair in seen if len(pair) == 2))

    def _own_address(self) -> str:
        """The address by which the others reach this host; "" if it is not known."""
        seen = self._callers()
        try:
            return addresses.choose("", seen, self._here.interfaces, self._interface)[0] if seen else ""
        except UsageError:
            return seen[0]  # it is not a host of the job

    def _facts(self, name: str) -> HostFacts:
        remote = self.agents.hosts.get(name)
        return self._here if remote is None or remote.facts is None else remote.facts

    def room(self, spec: HostSpec) -> tuple[int, int]:
        """Scheduler units and bytes that the job may use on a host."""
        there = self._facts(spec.name)
        return spec.cpu_units or there.cpu_units, spec.memory_bytes or there.memory_bytes

    def has_rdma(self) -> bool:
        """Whether another host has an RDMA network card: MPI's settings for those concern all hosts."""
        return any(host.facts is not None and host.facts.rdma for host in self.agents.hosts.values())

    def slots(self, spec: HostSpec) -> int:
        """How many ranks a host gets before the next host does."""
        return spec.slots or max(1, self.room(spec)[0] // CPU_UNIT)

    # -- in the supervisor's loop --------------------------------------------------------------

    def attend(self, tell_root: Callable[[Any], None]) -> None:
        """Start serving the root, through `tell_root`."""
        self._tell_root = tell_root
        self.agents.lost = self._lose
        self.agents.back = self._take_back
        self.agents.attend(self._differences, self._provide)
        self.fabric.attend(tell_root)

    def _lose(self, name: str, reason: str) -> None:
        self.fabric.host_lost(name)
        self._tell_root(launcher_root.HostLost(name, reason))

    def _differences(self, host: RemoteHost) -> str:
        assert host.facts is not None
        facts = {name: it.facts for name, it in self.agents.hosts.items() if it.facts is not None}
        machines = {name: it.machine for name, it in facts.items()} | {self.local: self._here.machine}
        fault = host_checks.differences(host.spec, host.facts, self._here)
        return fault or host_checks.same_machine(host.spec.name, host.facts.machine, machines)

    def _take_back(self, name: str) -> None:
        self.fabric.host_back(name)
        host = self.agents.hosts[name]
        back = launcher_root.HostBack(self.described([host.spec]))
        self._copied.provide(host, lambda: self._tell_root(back))

    def register(self, poll: select.poll) -> None:
        """Register with `poll` the descriptors that `serve` serves."""
        assert self._rsh_server is not None
        fds = [
            self.agents.fileno(),
            self._rsh_server.fileno(),
            *(fd for world in self._worlds.values() for fd in world.descriptors),
            *self.fabric.descriptors,
        ]
        for fd in fds:
            poll.register(fd, select.POLLIN)

    def serve(self, ready: set[int]) -> None:
        """Serve the descriptors that are ready."""
        assert self._rsh_server is not None
        self.agents.serve()
        self._rsh_server.serve()
        for start, world in list(self._worlds.items()):
            if world.has_ended(ready):
                self._end_world(start)
        self.fabric.serve(ready)

    @property
    def deadline_s(self) -> float:
        """When to call `serve` even if no descriptor is ready."""
        fabric_s = self.fabric.deadline_s
        return self.agents.deadline_s if fabric_s is None else min(self.agents.deadline_s, fabric_s)

    @property
    def requests(self) -> dict[type, Callable[[Any], None]]:
        """The handlers of the root's requests."""
        return {
            launcher_root.HostForgotten: lambda frame: self.agents.forget(frame.name),
            launcher_root.NeedHostSpawner: lambda frame: self._start_host_spawner(frame.host),
            launcher_root.StartWorld: self._start_world,
        }

    def finish(self) -> None:
        """End everything on the other hosts. Blocks: until the agents have, within a limit."""
        self.fabric.finish()
        for world in self._worlds.values():
            world.end()
        self._worlds.clear()
        self.agents.finish()
        self._copied.close()
        if self._archive is not None:
            self._archive.close()

    def _start_host_spawner(self, name: str) -> None:
        facts = self.agents.hosts[name].facts
        if facts is None:
            return
        main = f"{facts.home}/{ROOT_MAIN}"
        there = Mpi(self._mpi.kind, facts.mpi[2])
        program = [facts.executable, "-I", "-S", main]
        superuser = facts.superuser
        argv = mpiexec.command(there, program, self._mpi_args, os.environ, superuser=superuser)
        said: list[bytes] = []

        def ended(code: int) -> None:
            what = b"".join(said)[-NOISE_BYTES:].decode("utf-8", "replace").strip()
            reason = f"its mpiexec has ended with {code}" + (f": {what}" if what else "")
            self._tell_root(launcher_root.HostLost(name, reason))

        settings = [f"{names.HOST}={name}", f"{names.PATH}={os.pathsep.join(facts.path)}"]
        self.agents.run(name, argv, settings, said.append, ended)

    def _start_world(self, frame: launcher_root.StartWorld) -> None:
        programs = {}
        for name in set(frame.hosts):
            there = self._facts(name)
            stub = f"{there.home}/{SPAWN_STUB}"
            programs[name] = [there.executable, "-I", "-S", stub, str(frame.start)]
        self._worlds[frame.start] = self._world(frame.hosts, programs)

    def _start_fabric(self, hosts: list[str]) -> WorldProcess:
        programs = {}
        for name in hosts:
            there = self._facts(name)
            address = self._own_address() if name == self.local else there.address.partition(" ")[0]
            arguments = [name, address or name, os.pathsep.join(there.path)]
            programs[name] = [there.executable, "-I", f"{there.home}/{FABRIC_MAIN}", *arguments]
        return self._world(hosts, programs)

    def _world(self, hosts: list[str], programs: dict[str, list[str]]) -> WorldProcess:
        """Start an mpiexec for ranks on these hosts, with the program of each host."""
        argv = mpiexec.world_command(
            self._mpi,
            runs(hosts),
            programs,
            self._mpi_args,
            os.environ,
            superuser=os.geteuid() == 0,
            local=self.local,
            address=self._own_address(),
        )
        theirs, own = self._facts(hosts[0]).interfaces, self._here.interfaces
        network = addresses.mpi_settings(self._mpi.kind, self._interface, theirs, own)
        return WorldProcess(argv, {**self._environment, **network}, lambda data: self.noise(data))

    def _end_world(self, start: int) -> None:
        """A world's mpiexec has ended: ranks that have not come up by now never will."""
        said = self._worlds.pop(start).end()
        self._tell_root(launcher_root.WorldFailed(start, why_ended(said)))


def local_name(specs: list[HostSpec]) -> str:
    """The name by which the user calls this host, or its own name if it is not among `specs`."""
    import socket

    own = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    for spec in specs:
        if spec.name in (own, own.partition(".")[0], "localhost", "127.0.0.1", "::1"):
            return spec.name
    for spec in specs:
        try:
            found = socket.getaddrinfo(spec.name, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(*found[:3]) as sock:
                sock.bind(found[4])  # possible for an address of this host alone
            return spec.name
        except OSError:
            continue  # another host's address, or an unknown name, which ssh will report
    return own
