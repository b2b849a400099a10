"""The root rank: bridge and scheduler. It never runs a person's code.

One loop takes in what monitors, helpers and the launcher say, asks the `Job` machine what to do,
and does it. All that may block is elsewhere: MPI_Comm_spawn in the spawner's threads, the
terminal in the bridge's, stdin in the feeder's.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

from cmpi._core.job import deadlock, job_actions
from cmpi._core.job.connection_broker import Tell
from cmpi._core.job.deadlock import Deadlock, DeadlockCheck, Probe
from cmpi._core.job.job import JobMachine
from cmpi._core.job.report import deadlock_report, end_event, final_report
from cmpi._core.job.start_order import start_order
from cmpi._core.protocol import helper_root, launcher_root, monitor_root
from cmpi._core.protocol.process_root_waits import AskBlocked, AskStacks, Blocked, Stacks, StillBlocked
from cmpi._core.protocol.wire import encode
from cmpi._runtime import environment
from cmpi._runtime.linux import host_facts, leftovers, pid_files
from cmpi._runtime.root.bridge import make_bridge
from cmpi._runtime.root.control_peers import Peer, connect_to_launcher, hear_until
from cmpi._runtime.root.expected import Expected
from cmpi._runtime.root.fork_server_process import ForkServerProcess
from cmpi._runtime.root.helper_table import HelperTable
from cmpi._runtime.root.launcher_room import LauncherRoom
from cmpi._runtime.root.spawner import Spawner
from cmpi._runtime.root.stdin_feeder import StdinFeeder
from cmpi._transport import control_socket, job_secret, mpi
from cmpi._transport.door import Door, listen
from cmpi.errors import ProtocolError
from cmpi.identifiers import NO_PID, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.interpreter import Interpreter

AT_THE_DOOR = {**helper_root.TO_ROOT, **monitor_root.TO_ROOT}
LEAVE_S = 2.0  # for monitors to end what is left, once the job is over


class Root:
    """The root's loop. `run` returns when the job is over."""

    def __init__(self) -> None:
        self._folder = os.environ[environment.JOB]
        self._secret = job_secret.read(self._folder)
        self._launcher = connect_to_launcher(self._folder + "/launcher", self._secret.key)
        order, fds = control_socket.receive_with_fds(self._launcher)
        self._order: launcher_root.LaunchJob = order
        self._door = Door(listen(self._folder + "/root"), self._secret.key)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._posted: deque[Callable[[], None]] = deque()  # from other threads, for the loop
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}
        self._monitors: dict[int, Peer] = {}
        self._helper_table = HelperTable(self._send)
        self._start_s, self._has_all_output = time.monotonic(), False
        self._fork_server = ForkServerProcess()
        self._finish: int | None = None
        self._leave_s: float | None = None
        self._here = order.here or os.uname().nodename
        hosts, self._places = host_facts.places(order, self._here)
        self._host_spawners: set[str] = set()  # hosts for which one was asked for
        seed, limit = int.from_bytes(os.urandom(3), "little"), order.shared_memory_bytes
        times = order.deadline_s, order.grace_s
        self._job = JobMachine(
            hosts, seed, self._folder, limit, order.enforce, os.urandom(32), *times, order.strict
        )
        self._bridge = make_bridge(
            order, fds, lambda pid, nbytes: self.post(lambda: self._printed(pid, nbytes)), self._lost
        )
        self._deadlock = DeadlockCheck()
        self._feeder = StdinFeeder(fds[0])
        self._spawner = Spawner(self._spawn_failed)
        self._launcher_room = LauncherRoom()
        self._expected = Expected(self._folder)
        self._expected.started(pid_files.COMPLETER, time.monotonic())

    def run(self) -> int:
        """Run the job; returns the root's own exit code, 0."""
        self._poll.register(self._door, select.EPOLLIN)
        self._poll.register(self._wake_read, select.EPOLLIN)
        self._poll.register(self._launcher.fileno(), select.EPOLLIN)
        where = [host or self._here for host in self._order.where]
        self._do(self._job.launch(self._order.argv, where, self._order.rank_cpu_units))
        while not self._over():
            for fd, events in self._poll.poll(self._timeout()):
                self._serve(fd, events)
            now_s = time.monotonic()
            self._do(self._job.tick(now_s))
            self._do(self._deadlock.tick(now_s))
            self._bridge.tick()
            self._admit(now_s)
            for what, port in self._expected.ended(now_s):
                self._ended_unheard(what, port, now_s)
            self._fork_server.tick(now_s)
        self._say_goodbye()
        return 0

    # -- the loop --------------------------------------------------------------------------

    def _timeout(self) -> float:
        times = [it.deadline_s for it in (self._fork_server, self._door, self._expected)]
        times += [machine.deadline_s() for machine in (self._job, self._deadlock, self._bridge)]
        times.append(self._leave_s)
        first = min((t for t in times if t is not None), default=None)
        return -1 if first is None else max(0.0, first - time.monotonic())

    def _over(self) -> bool:
        if self._launcher.closed and self._finish is None:
            self._finish = 1  # cmpirun was killed: there is nobody to report to
        if self._finish is None:
            return False
        if self._leave_s is None:
            self._leave_s = time.monotonic() + LEAVE_S
            for peer in self._monitors.values():
                peer.stream.send(monitor_root.Dismiss())
        return not self._monitors or time.monotonic() >= self._leave_s

    def _serve(self, fd: int, events: int) -> None:
        if fd == self._wake_read:
            os.read(fd, 4096)
            while self._posted:
                self._posted.popleft()()
        elif fd == self._launcher.fileno():
            self._hear_launcher()
        elif fd == self._fork_server.fileno():
            self._poll.unregister(fd)
            self._no_fork_server(self._here, self._fork_server.ended())
        elif fd in self._peers:
            self._hear_peer(self._peers[fd], events)

    def post(self, act: Callable[[], None]) -> None:
        """Have the loop call something soon. From any thread."""
        self._posted.append(act)
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # full of wake-ups already

    def _do(self, actions: list[Any]) -> None:
        died = []
        for action in actions:
            if isinstance(action, Tell):
                peer = self._monitors.get(action.pid)
                if peer is not None:
                    self._send(peer, monitor_root.ToRank(encode(action.frame)))
            elif isinstance(action, job_actions.Begin):
                if action.pid in self._monitors:
                    self._begin(action.pid, action.settings)
            elif isinstance(action, job_actions.Order):
                if action.pid in self._monitors:
                    self._send(self._monitors[action.pid], action.frame)
            elif isinstance(action, job_actions.Launch):
                self._launch(action)
            elif isinstance(action, job_actions.LaunchWorld):
                self._launcher.send(launcher_root.StartWorld(action.start, action.hosts))
            elif isinstance(action, job_actions.Born):
                self._deadlock.born(action.pid)
                process = self._job.processes[action.pid]
                self._bridge.born(
                    process, process.parent if process.parent in self._job.processes else None
                )
            elif isinstance(action, job_actions.Named):
                self._bridge.named(self._job.processes[action.pid])
            elif isinstance(action, job_actions.Died):
                process = self._job.processes[action.pid]
                assert process.status is not None
                self._bridge.died(action.pid, process.status, process.usage)
                died.append(action.pid)
            elif isinstance(action, Probe):
                self._do([Tell(pid, AskBlocked(action.round)) for pid in action.pids])
            elif isinstance(action, Deadlock):
                self._end_deadlock()
            elif isinstance(action, job_actions.Say):
                self._bridge.say(f"cmpirun: {action.text}\n")
            elif isinstance(action, job_actions.TellPreload):
                self._helper_table.load(helper_root.Load(action.frame.modules, action.frame.path))
            elif isinstance(action, job_actions.NeedForkServer):
                self._start_fork_server(action.host, action.interpreter)
            elif isinstance(action, job_actions.FinishJob):
                self._finish = action.code
        for pid in died:  # behind the notices of these ends, which may wake somebody
            self._do(self._deadlock.died(pid))

    # -- who comes in ----------------------------------------------------------------------

    def _admit(self, now_s: float) -> None:
        for sock in self._door.admit(now_s):
            self._poll.register(sock.fileno(), select.EPOLLIN)
            self._peers[sock.fileno()] = Peer(control_socket.ControlSocket(sock, AT_THE_DOOR))
        if self._door.fault:
            self._bridge.say(f"cmpirun: cannot take in a monitor: {self._door.fault}\n")
            self._door.fault = ""

    def _send(self, peer: Peer, frame: Any) -> None:
        peer.stream.send(frame)
        if peer.stream.backlog:
            self._poll.modify(peer.stream.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _hear_peer(self, peer: Peer, events: int) -> None:
        if events & select.EPOLLOUT and peer.stream.flush():
            self._poll.modify(peer.stream.fileno(), select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            try:
                for frame in peer.stream.receive():
                    self._hear(peer, frame)
            except ProtocolError as error:
                self._bridge.say(f"cmpirun: dropped a connection: {error}\n")
        if peer.stream.closed:
            self._forget(peer)

    def _hear(self, peer: Peer, frame: Any) -> None:
        now_s = time.monotonic()
        if peer.dismissed:
            return
        if peer.pid is None:
            self._introduce(peer, frame, now_s)
        elif isinstance(frame, monitor_root.Output):
            self._bridge.output(peer.pid, frame.fd, frame.data)
        elif isinstance(frame, monitor_root.FromRank):
            for inner in peer.rank_frames.feed(frame.data):
                if isinstance(inner, Stacks):
                    title = self._job.processes[peer.pid].title
                    self._bridge.say(f"cmpirun: stacks of {title}:\n{inner.text}")
                elif not isinstance(inner, (Blocked, StillBlocked)):
                    self._do(self._job.from_rank(peer.pid, inner, now_s))
                elif self._order.check_deadlock:
                    self._do(self._deadlock.hear(peer.pid, inner, now_s))
        elif isinstance(frame, monitor_root.ProcessExited):
            verdict = "out of memory: the kernel killed it" if frame.by_kernel else ""
            status = ExitStatus(frame.code, frame.signal, verdict)
            self._job.used(peer.pid, frame)
            self._do(self._job.exited(peer.pid, status, now_s, frame.by_launcher))
        elif isinstance(frame, monitor_root.OverMemory):
            self._do(self._job.over_memory(peer.pid, frame))
        elif isinstance(frame, monitor_root.CannotRun):
            self._job.processes[peer.pid].fault = f"could not be started: {frame.reason}"
        elif isinstance(frame, monitor_root.StdinTaken):
            self._feeder.taken(frame.nbytes)

    def _introduce(self, peer: Peer, frame: Any, now_s: float) -> None:
        if isinstance(frame, helper_root.HelperUp):
            peer.helps, at = True, frame.host or self._here
            if frame.fault:
                self._no_fork_server(at, frame.fault)
                return
            if frame.role == helper_root.FORK_SERVER:
                self._do(self._job.fork_server(at, "ready"))
                if at == self._here:
                    self._fork_server.reported()
            elif at == self._here:
                self._expected.came(pid_files.COMPLETER)
            self._helper_table.came(frame.role, at, peer)
        elif peer.helps and isinstance(frame, helper_root.PortIs):
            self._complete(frame.start, frame.port)
        elif peer.helps and isinstance(frame, helper_root.SpawnFailed):
            self._do(self._job.start_failed(frame.start, frame.reason, now_s))
        elif isinstance(frame, helper_root.Complaint):
            self._bridge.say(f"cmpirun: {frame.text}\n")
        elif isinstance(frame, monitor_root.MonitorUp):
            self._take_in(peer, frame, now_s)
        else:
            peer.stream.closed = True  # does not keep to the protocol; forgotten after this frame

    def _complete(self, start: int, port: str) -> None:
        pids = self._job.starts.get(start)
        if pids:
            self._helper_table.complete(start, self._job.processes[pids[0]].host, port)

    def _take_in(self, peer: Peer, frame: monitor_root.MonitorUp, now_s: float) -> None:
        self._expected.came(pid_files.start(frame.start, frame.rank))
        self._complete(frame.start, frame.port)
        pid, actions = self._job.monitor_up(frame.start, frame.rank, now_s, frame.service_port)
        if pid is None:
            peer.dismissed = True
            self._send(peer, monitor_root.Dismiss())
        else:
            peer.pid, self._monitors[pid] = pid, peer
        self._do(actions)

    def _begin(self, pid: int, settings: list[str]) -> None:
        peer, process = self._monitors[pid], self._job.processes[pid]
        order = start_order(self._order, self._places.get(process.host), process, settings)
        self._send(peer, order)
        if order.stdin:
            self._feeder.start(lambda data: self.post(lambda: self._feed(peer, data)))

    def _forget(self, peer: Peer) -> None:
        fd = peer.stream.fileno()
        self._poll.unregister(fd)
        del self._peers[fd]
        peer.stream.close()
        if peer.pid is not None:
            del self._monitors[peer.pid]
            self._do(self._job.monitor_lost(peer.pid, time.monotonic()))
        elif peer.helps and (helper := self._helper_table.went(peer)) is not None:
            self._helper_went(*helper)

    def _ended_unheard(self, what: str, port: str, now_s: float) -> None:
        """A process has ended before it was up."""
        if what == pid_files.COMPLETER:
            self._helper_went(helper_root.SPAWN_COMPLETER, self._here)
        else:
            start = pid_files.start_number(what)
            self._complete(start, port)  # or MPI_Comm_spawn would not return, and the next one has to wait
            self._do(self._job.start_failed(start, "MPI's process for it has ended", now_s))

    def _helper_went(self, role: int, host: str) -> None:
        if role == helper_root.FORK_SERVER:
            self._do(self._job.fork_server(host, "dead"))
        elif self._finish is None and host == self._here:
            self._bridge.say(
                "cmpirun: the spawn completer (a process beside the root) has ended, and so must the job\n"
            )
            self._finish = 1
        elif self._finish is None:
            reason = "MPI has ended there"
            self._do(self._job.host_lost(host, reason, time.monotonic()))

    # -- helpers ---------------------------------------------------------------------------

    def _launch(self, launch: job_actions.Launch) -> None:
        if launch.host == self._here:
            lack = self._launcher_room.lacks(len(launch.pids))
            if not os.path.exists(self._folder):
                lack = f"the folder of the job, {self._folder}, has been removed"
            if lack:
                self._spawn_failed(launch.start, lack)
            else:
                for rank in range(len(launch.pids)):
                    self._expected.started(pid_files.start(launch.start, rank), time.monotonic())
                self._spawner.submit(launch)
        else:
            there = helper_root.SpawnThere(launch.start, len(launch.pids), launch.forked)
            self._tell_host_spawner(launch.host, there)

    def _tell_host_spawner(self, host: str, frame: Any) -> None:
        if host not in self._host_spawners:
            self._host_spawners.add(host)
            self._launcher.send(launcher_root.NeedHostSpawner(host))
        self._helper_table.tell(helper_root.HOST_SPAWNER, host, frame)

    def _start_fork_server(self, host: str, it: Interpreter) -> None:
        if host != self._here:
            self._tell_host_spawner(host, helper_root.StartForkServer(it.program, it.flags, it.settings))
            return
        try:
            self._fork_server.start(it)
            self._poll.register(self._fork_server.fileno(), select.EPOLLIN)
        except OSError as error:
            self._no_fork_server(host, str(error))

    def _no_fork_server(self, host: str, reason: str) -> None:
        if self._finish is None:
            self._bridge.say(f"cmpirun: no fork server on {host}: {reason}; spawns are slower\n")
            self._do(self._job.fork_server(host, "dead"))

    def _spawn_failed(self, start: int, reason: str) -> None:
        self.post(lambda: self._do(self._job.start_failed(start, reason, time.monotonic())))

    # -- the bridge's and the feeder's words -------------------------------------------------

    def _printed(self, pid: int, nbytes: int) -> None:
        peer = self._monitors.get(pid)
        if peer is not None:
            self._send(peer, monitor_root.OutputTaken(nbytes))
        elif pid == NO_PID:
            self._launcher.send(monitor_root.OutputTaken(nbytes))

    def _lost(self) -> None:
        self.post(lambda: self._do(self._job.interrupt(13, time.monotonic())))

    def _feed(self, peer: Peer, data: bytes) -> None:
        if peer.pid is not None and self._feeder.echoes:
            self._bridge.typed(peer.pid, data)
        if not peer.stream.closed:
            self._send(peer, monitor_root.Stdin(data))

    # -- the launcher ------------------------------------------------------------------------

    def _hear_launcher(self) -> None:
        """A frame; or its end, after which there is nothing to hear."""
        for frame in self._launcher.receive():
            if isinstance(frame, launcher_root.LauncherOutput):
                self._bridge.output_of_launcher(frame.fd, frame.data)
            elif isinstance(frame, launcher_root.AllOutput):
                self._has_all_output = True
            elif isinstance(frame, launcher_root.Interrupt):
                again, now_s = self._job.interruption is not None, time.monotonic()
                self._do(self._job.hurry(now_s) if again else self._job.interrupt(frame.signal, now_s))
            elif isinstance(frame, launcher_root.ShowStacks):
                self._show_stacks()
            elif isinstance(frame, launcher_root.HostLost):
                self._do(self._job.host_lost(frame.name, frame.reason, time.monotonic()))
                self._launcher.send(launcher_root.HostForgotten(frame.name))
            elif isinstance(frame, launcher_root.HostBack):
                back = host_facts.place(frame.host)
                self._host_spawners.discard(back.name)
                self._do(self._job.host_back(back))
            elif isinstance(frame, launcher_root.WorldFailed):
                self._do(self._job.start_failed(frame.start, frame.reason, time.monotonic()))
        if self._launcher.closed:
            self._poll.unregister(self._launcher.fileno())

    def _show_stacks(self) -> None:
        living = [p for p in self._job.processes.values() if p.status is None]
        self._do([Tell(p.pid, AskStacks()) for p in living if p.joined])
        silent = [p.title for p in living if not p.joined]
        if silent:
            self._bridge.say(f"cmpirun: no stacks of those that have not used cmpi: {', '.join(silent)}\n")

    def _end_deadlock(self) -> None:
        self._bridge.say(deadlock_report(self._job, self._deadlock.blocked), alarm=True)
        because = "all processes of the job waited for each other"
        self._do(self._job.interrupt(15, time.monotonic(), because, deadlock.CODE))

    def _say_goodbye(self) -> None:
        in_order = self._spawner.close()
        if self._launcher.closed:
            leftovers.remove_folders((self._folder, os.environ[environment.SHARED_MEMORY]))
            leftovers.remove_unmapped_segments(leftovers.REMOVE_S)
        else:
            self._launcher.send(launcher_root.AskOutput())
            hear_until(self._launcher, self._hear_launcher, lambda: self._has_all_output, LEAVE_S)
            self._bridge.ended(end_event(self._job, self._finish or 0, time.monotonic() - self._start_s))
            self._bridge.finish(final_report(self._job, self._bridge.tail, self._order.verbosity))
            self._launcher.send(launcher_root.Final(self._finish or 0))
        for peer in self._peers.values():
            peer.stream.close()
        if not in_order:
            os._exit(1)  # a thread is inside MPI for good: MPI_Finalize would not return either


def main() -> int:
    """The root's whole life."""
    root = Root()
    mpi.tell_spawn_completer()
    return root.run()
