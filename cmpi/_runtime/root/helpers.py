"""Starts processes for the root: through its spawner and fork server here, and host spawners elsewhere.

For every start, the spawn completer on that host is told the port on which MPI_Comm_spawn waits.
"""

from __future__ import annotations

import os

from cmpi._core.job import slots
from cmpi._core.protocol import helper_root, launcher_root
from cmpi._core.protocol.wire import handler
from cmpi._runtime.linux import pid_files
from cmpi._runtime.root import spawn_room
from cmpi._runtime.root.ending_processes import EndingProcesses
from cmpi._runtime.root.fork_server_process import ForkServerProcess
from cmpi._runtime.root.helper_table import HelperTable
from cmpi._runtime.root.host_starts import HostStarts
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.interpreter import Interpreter
    from cmpi._core.job.job import JobMachine
    from cmpi._core.job.job_actions import Launch
    from cmpi._core.protocol import monitor_root, process_root
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
    from cmpi._runtime.root.root_loop import RootLoop
    from cmpi._runtime.root.slot_monitors import SlotMonitors

MOST_FAILED = 1_000  # starts whose host is remembered


class Helpers:
    """All helpers. Only `close` blocks.

    Args:
        folder: The job's folder.
        here: The name of this host.
        job: The job machine, which is told about failed starts.
        loop: The root's loop.
        do: Carries out actions.
        say: Shows the user a line of text.
        tell_launcher: Sends a frame to cmpirun.
        give_up: Called when the job cannot go on.
    `slots` must be set before anything is launched.
    """

    def __init__(
        self,
        folder: str,
        here: str,
        job: JobMachine,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        say: Callable[[str], None],
        tell_launcher: Callable[[Any], None],
        give_up: Callable[[], None],
    ) -> None:
        self.slots: SlotMonitors
        self._folder, self._here, self._job, self._loop = folder, here, job, loop
        self._do, self._say, self._tell_launcher, self._give_up = do, say, tell_launcher, give_up
        self.peers: ControlPeers
        self._over = False
        self._helper_table = HelperTable(lambda peer, frame: self.peers.send(peer, frame))
        self._host_spawners: set[str] = set()  # hosts for which one was requested
        self._fork_server = ForkServerProcess()
        self._starts_here = HostStarts(folder, self._spawn_failed)
        self._room_of_root, self._mpi_counted = spawn_room.of_root(), False
        self._hosts_of_failed: dict[int, str] = {}  # by start: MPI may still be busy with it
        self.ending = EndingProcesses(loop, here, self._ask_end)
        self._handlers: dict[type, Callable[[ControlPeer, Any], None]] = {
            helper_root.HelperUp: self.take_in,
            helper_root.PortIs: lambda _, frame: self._complete(frame.start, frame.port),
            helper_root.SpawnFailed: lambda _, frame: self._start_failed(frame.start, frame.reason),
            helper_root.EndedUnheard: self._ended_there,
            helper_root.HasEnded: self._has_ended,
            helper_root.Complaint: lambda _, frame: self._say(frame.text),
            helper_root.Carries: lambda peer, _: self._carries(peer),
        }

    # -- the loop --------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        times = (self._fork_server.deadline_s, self._starts_here.deadline_s, self.ending.deadline_s)
        return min((t for t in times if t is not None), default=None)

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        for what, port in self._starts_here.ended(now_s):
            self._ended_unheard(what, port, self._here)
        for start, reason in self._starts_here.hopeless(now_s):
            self._start_failed(start, reason)
        self._fork_server.tick(now_s)
        self.ending.tick(now_s)

    def over(self) -> None:
        """The job is over: do not report helpers that end from now on."""
        self._over = True
        self._starts_here.drop()

    def close(self) -> bool:
        """End the spawner; False if it is stuck in MPI. Blocks: at most a second."""
        return self._starts_here.close()

    @property
    def busy(self) -> bool:
        """Whether MPI is starting something on this host."""
        return self._starts_here.busy

    # -- starts ----------------------------------------------------------------------------

    def launch(self, launch: Launch) -> None:
        """Have MPI start processes, on this host or on another."""
        if not self._mpi_counted:
            self._mpi_counted = self._starts_here.initialized
            self._room_of_root.forget()  # MPI_Init opens files
        lack = self._room_of_root.take(len(launch.pids))
        if launch.host != self._here and not lack:
            there = helper_root.SpawnThere(launch.start, len(launch.pids), launch.forked)
            self._tell_host_spawner(launch.host, there)
            return
        if self.has_no_folder:
            lack = f"the folder of the job, {self._folder}, has been removed"
        lack = lack or self._starts_here.launch(launch)
        if lack:
            self._spawn_failed(launch.start, lack)

    def prepare(self) -> None:
        """Something will be spawned on this host: start MPI. Blocks: never."""
        self._starts_here.prepare()

    def expect(self, start: int, n: int) -> None:
        """cmpirun itself has started these ranks, on this host."""
        self._room_of_root.take(n)
        self._starts_here.expect(start, n)

    @property
    def has_no_folder(self) -> bool:
        """Whether the job's folder was removed, without which nothing can be started."""
        return not os.path.exists(self._folder)

    def monitor_up(self, frame: monitor_root.MonitorUp) -> None:
        """A monitor is ready: complete the start that it belongs to."""
        host = self._host_of(frame.start)
        if host is not None:
            self._came_up(pid_files.start(frame.start, frame.rank), host)
        self._complete(frame.start, frame.port)

    def _came_up(self, what: str, host: str) -> None:
        """An expected process has reported."""
        if host == self._here:
            self._starts_here.came(what)
        else:
            self._helper_table.tell(helper_root.HOST_SPAWNER, host, helper_root.IsUp(what))

    def _host_of(self, start: int) -> str | None:
        """The host of a start, if its process or slot exists, or MPI was too late with it."""
        pids = self._job.starts.get(start)
        host = self._job.processes[pids[0]].host if pids else self.slots.host(start)
        return self._hosts_of_failed.get(start) if host is None else host

    def _complete(self, start: int, port: str) -> None:
        host = self._host_of(start)
        if host is not None:
            self._helper_table.complete(start, host, port)

    def _spawn_failed(self, start: int, reason: str) -> None:
        """Report a failed start; may be called in the spawner's thread."""
        self._loop.post(lambda: self._start_failed(start, reason))

    def _start_failed(self, start: int, reason: str) -> None:
        host = self._host_of(start)
        if host is not None:
            self._hosts_of_failed[start] = host
            if len(self._hosts_of_failed) > MOST_FAILED:
                del self._hosts_of_failed[next(iter(self._hosts_of_failed))]
        if start >= slots.FIRST:
            self.slots.failed(start, reason)
        else:
            self._do(self._job.start_failed(start, reason, clock.now_s()))

    def _ended_there(self, peer: ControlPeer, frame: helper_root.EndedUnheard) -> None:
        """A process on another host has ended before it was ready."""
        host = self._helper_table.host_of(peer)
        start = pid_files.start_number(frame.what)
        if host is not None and (start < 0 or self._host_of(start) == host):
            self._ended_unheard(frame.what, frame.port, host)

    def _ended_unheard(self, what: str, port: str, host: str) -> None:
        """A process has ended before it was ready."""
        if what == pid_files.COMPLETER:
            self._went(helper_root.SPAWN_COMPLETER, host)
        else:
            start = pid_files.start_number(what)
            # Otherwise MPI_Comm_spawn would not return, and the next one would wait.
            self._complete(start, port)
            self._start_failed(start, "MPI's process for it has ended")

    # -- ends ------------------------------------------------------------------------------

    def _ask_end(self, host: str, os_pid: int) -> bool:
        """Ask a host's spawner for the end of a process there; False if there is no such spawner."""
        return self._helper_table.tell_now(helper_root.HOST_SPAWNER, host, helper_root.TellEnd(os_pid))

    def _has_ended(self, peer: ControlPeer, frame: helper_root.HasEnded) -> None:
        host = self._helper_table.host_of(peer)
        if host is not None:
            self.ending.ended(host, frame.os_pid)

    # -- fork servers ----------------------------------------------------------------------

    def start_fork_server(self, host: str, it: Interpreter) -> None:
        """Start the fork server of a host, with this interpreter."""
        if host != self._here:
            self._tell_host_spawner(host, helper_root.StartForkServer(it.program, it.flags, it.settings))
            return
        self._starts_here.prepare()  # a process that may spawn has come
        try:
            self._fork_server.start(it)
        except OSError as error:
            self._no_fork_server(host, str(error))
            return
        self._loop.watch(self._fork_server.fileno(), lambda _: self._fork_server_ended())

    def _fork_server_ended(self) -> None:
        self._loop.forget(self._fork_server.fileno())
        self._no_fork_server(self._here, self._fork_server.ended())

    def _no_fork_server(self, host: str, reason: str) -> None:
        if not self._over:
            self._say(f"no fork server on {host}: {reason}; spawns are slower")
            self._without_fork_server(host)

    def _without_fork_server(self, host: str) -> None:
        self._do(self._job.fork_server(host, "dead"))
        self.slots.fork_server_ended(host)

    def load(self, frame: process_root.Preload) -> None:
        """Have all fork servers load modules."""
        self._helper_table.load(helper_root.Load(frame.modules, frame.path))
        self.slots.preloaded()

    # -- helpers that come and go ----------------------------------------------------------

    def take_in(self, peer: ControlPeer, frame: helper_root.HelperUp) -> None:
        """A helper has reported."""
        peer.title, host = "a helper of the root", frame.host or self._here
        peer.on_frame = lambda peer, frame: handler(self._handlers, frame)(peer, frame)
        peer.gone = self._gone
        if frame.fault:
            self._no_fork_server(host, frame.fault)
            return
        if frame.role == helper_root.FORK_SERVER:
            self._do(self._job.fork_server(host, "ready"))
            if host == self._here:
                self._fork_server.reported()
        elif frame.role == helper_root.SPAWN_COMPLETER:
            self._came_up(pid_files.COMPLETER, host)
        self._helper_table.came(frame.role, host, peer)
        if frame.role == helper_root.FABRIC_AGENT:
            self.peers.send(peer, helper_root.GuardBy(self._job.connections.fabric.key))

    def _carries(self, peer: ControlPeer) -> None:
        host = self._helper_table.host_of(peer)
        if host is not None:
            self._do(self._job.connections.fabric_up(host))

    def _gone(self, peer: ControlPeer) -> None:
        helper = self._helper_table.went(peer)
        if helper is not None:
            self._went(*helper)

    def _went(self, role: int, host: str) -> None:
        if role == helper_root.FORK_SERVER:
            self._without_fork_server(host)
        elif self._over:
            return
        elif role == helper_root.FABRIC_AGENT:
            self._do(self._job.connections.fabric_down(host))
        elif host == self._here:
            self._say("the spawn completer (a process beside the root) has ended, so the job cannot go on")
            self._give_up()
        else:
            self.slots.host_lost(host)
            self._do(self._job.host_lost(host, "MPI has ended there", clock.now_s()))

    def _tell_host_spawner(self, host: str, frame: Any) -> None:
        if host not in self._host_spawners:
            self._host_spawners.add(host)
            self._tell_launcher(launcher_root.NeedHostSpawner(host))
        self._helper_table.tell(helper_root.HOST_SPAWNER, host, frame)

    def host_back(self, host: str) -> None:
        """A lost host has returned; its former processes have not."""
        self._host_spawners.discard(host)
