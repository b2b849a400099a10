"""The job as the root sees it: processes, who started whom, how each ended, when all is over.

The machine of the root rank: events in, actions out. Everything the root does is decided here or in
the machines it owns, such as `Requests` and `LinkTable`; the root's shell only carries out.
"""

from __future__ import annotations

from cmpi._core.job.complaints import Complaints
from cmpi._core.job.connection_broker import CONNECTION_FRAMES, ConnectionBroker, Tell
from cmpi._core.job.erlang_links import ErlangLinks
from cmpi._core.job.failures import Failures
from cmpi._core.job.fork_gate import ForkGate
from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.interruption import Interruption
from cmpi._core.job.job_actions import (
    Born,
    Died,
    FinishJob,
    Launch,
    LaunchWorld,
    Named,
    Order,
    Say,
    TellPreload,
)
from cmpi._core.job.kill_timers import GRACE_S, KILL_SOON, SIGKILL, SIGTERM, KillTimers
from cmpi._core.job.process_record import Process, ended_frame, memory_between
from cmpi._core.job.process_table import START_S, ProcessTable
from cmpi._core.job.scheduler import Host, Refuse
from cmpi._core.job.spawn_queue import SpawnAnswer, SpawnQueue
from cmpi._core.job.world import WorldStarts
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_connections import Farewell, Leaving
from cmpi._core.protocol.process_root_links import LinkWith
from cmpi.identifiers import NO_PID, ExitStatus, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.job_actions import Action


class JobMachine:
    """The machine. Methods are the events and return actions; not thread-safe, never blocks.

    Args:
        hosts: Where processes may run.
        seed: Where the pids start; any number, another for each job.
        bells: The folder of the doorbells, which processes are told when they join, and of links' sockets.
        shared_memory_bytes: How much memory one process may share with one other to send to it.
        secret: Out of which the keys of links by sockets are made.
        deadline_s: When the job will be ended, in seconds since 1970; 0: never.
        grace_s: Between the first signal and SIGKILL, when the user ends the job.
        strict: A failure counts though another process has looked at it.
    """

    def __init__(
        self,
        hosts: list[Host],
        seed: int = 0,
        bells: str = "",
        shared_memory_bytes: int = 0,
        enforce: str = "",
        secret: bytes = b"",
        deadline_s: float = 0.0,
        grace_s: float = GRACE_S,
        strict: bool = False,
    ) -> None:
        self._bells, self._enforce, self._deadline_s = bells, enforce, deadline_s
        self._complaints = Complaints()
        self._shared_memory_bytes = shared_memory_bytes
        self.requests = SpawnQueue(hosts)
        self.connections = ConnectionBroker({host.name: host.address for host in hosts}, secret, bells)
        self._lost: set[str] = set()
        self.erlang_links = ErlangLinks()
        self._process_table = ProcessTable(seed)
        self.processes, self.starts = self._process_table.processes, self._process_table.starts
        self._alive, self._living = self._process_table.alive, self._process_table.living
        self.failures = Failures(strict)
        self.interruption: Interruption | None = None
        self._grace_s = grace_s
        self._fork_gate = ForkGate(hosts)
        self._worlds = WorldStarts(self.connections.address_of)
        self._kill_timers = KillTimers()
        self._finished = False

    # -- events of the launcher ----------------------------------------------------------

    def launch(self, argv: list[str], where: list[str], cpu_units: int = 0) -> list[Action]:
        """Start the SPMD ranks, each on its host, where it holds so much of what there is."""
        start, label = len(self.starts), " ".join(argv)
        world = [self._process_table.add(NO_PID, start, rank, label).pid for rank in range(len(where))]
        self.starts[start] = world
        for pid, host in zip(world, where):
            process = self.processes[pid]
            process.host, process.resources = host, Resources.of_units(cpu_units, 0)
            self.requests.occupy(pid, host, process.resources)
        first = Launch(start, world, where[0], False) if len({*where}) == 1 else LaunchWorld(start, where)
        return [first, *map(Born, world)]

    def host_lost(self, host: str, reason: str, now_s: float) -> list[Action]:
        """A host is out of reach: what ran there counts as dead, and the others go on."""
        if host in self._lost:
            return []
        self._lost.add(host)
        self._fork_gate.lost(host)
        actions: list[Action] = [Say(f"host {host} is lost: {reason}")]
        actions += self._answered(self.requests.lose(host))
        for process in self._living():
            if process.host == host:
                process.fault = f"host lost: {host}: {reason}"
                actions.append(Order(process.pid, monitor_root.Signal(SIGKILL)))  # if it hears us after all
                actions += self.exited(process.pid, ExitStatus(137, SIGKILL), now_s)
        return actions

    def host_back(self, host: Host) -> list[Action]:
        """A host that was lost can be used again, or one that is new can be."""
        what = "is back" if host.name in self._lost else "has been added"
        self._lost.discard(host.name)
        self._fork_gate.back(host)
        self.connections.address(host.name, host.address)
        return [Say(f"host {host.name} {what}"), *self._answered(self.requests.add(host))]

    def interrupt(
        self, signal: int, now_s: float, because: str = "the job was interrupted", code: int = 0
    ) -> list[Action]:
        """The user wants an end, or there is no sense in going on: signals to all, SIGKILL at last.

        `code` is cmpirun's then; 0: that of the signal.
        """
        if self.interruption is not None:
            return []
        self.interruption = end = Interruption(signal, code or 128 + signal, self._grace_s, now_s)
        self.requests.withdraw_all()
        actions: list[Action] = []
        for process in self._living():
            actions += self._end(process, end.first, now_s, because, end)
        return actions + self._maybe_finish()

    def hurry(self, now_s: float) -> list[Action]:
        """The user does not want to wait for that end."""
        assert self.interruption is not None
        self.interruption.hurry(now_s)
        return [Order(p.pid, monitor_root.Signal(SIGKILL)) for p in self._living() if p.monitored]

    # -- events of monitors --------------------------------------------------------------

    def monitor_up(
        self, start: int, rank: int, now_s: float, service_port: int = 0
    ) -> tuple[int | None, list[Action]]:
        """A monitor reports; returns the pid it is to look after (None: it is not wanted)."""
        pids = self.starts.get(start, [])
        if rank >= len(pids) or self.processes[pids[rank]].monitored:
            return None, []
        process = self.processes[pids[rank]]
        self._process_table.monitored(process, now_s)
        if process.status is not None:
            return None, []
        if process.doomed:
            return None, self.exited(process.pid, ExitStatus(128 + process.doomed, process.doomed), now_s)
        limits: list[Action] = [process.limit(self._enforce)] if start else []
        return process.pid, limits + list(self._worlds.monitored(process, service_port, self._world(start)))

    def used(self, pid: int, frame: monitor_root.ProcessExited) -> None:
        """What a process had used when it ended."""
        process = self.processes[pid]
        process.peak_bytes, process.cpu_s, process.core = frame.peak_rss_bytes, frame.cpu_s, frame.core

    def exited(self, pid: int, status: ExitStatus, now_s: float, by_launcher: bool = False) -> list[Action]:
        """A process has ended; `status` is what its monitor saw.

        `by_launcher`: because MPI's own launcher told the monitor to end it, which happens to the
        other ranks of a world when one dies, and may be reported before that one's death.
        """
        process = self.processes[pid]
        if process.status is not None:
            return []
        self._process_table.ended(pid)
        # MPI's launcher may end the rest of a world before the one that the program killed is reported.
        doomed = by_launcher and any(self.processes[p].doomed for p in self.starts[process.start])
        status = process.end(status, with_others=doomed)
        actions: list[Action] = [Died(pid)]
        if not status.ok:
            self.failures.ended(process, by_launcher)
        ended = ended_frame(pid, status)
        actions += [Tell(watcher, ended) for watcher in sorted(process.watchers) if self._alive(watcher)]
        self.connections.leave(pid, now_s)
        actions += self._answered(self.requests.withdraw(pid))
        actions += self._answered(self.requests.release(pid))
        if status.code or status.signal:
            actions += self._fell_together(process, now_s, by_launcher)
        actions += self._end_linked(process, now_s)
        return actions + self._maybe_finish()

    def monitor_lost(self, pid: int, now_s: float) -> list[Action]:
        """A monitor's connection closed before it reported an exit: it dies with its process."""
        return self.exited(pid, ExitStatus(137, SIGKILL, "its monitor was lost"), now_s)

    def start_failed(self, start: int, reason: str, now_s: float) -> list[Action]:
        """MPI could not start these processes, or could not complete the start of some that run."""
        silent = [pid for pid in self.starts[start] if not self.processes[pid].monitored]
        return self._not_started(silent, reason, now_s)

    def _not_started(self, pids: list[int], reason: str, now_s: float) -> list[Action]:
        actions: list[Action] = []
        for pid in pids:
            process = self.processes[pid]
            process.fault = f"could not be started: {reason}"
            if process.monitored:
                actions.append(Order(pid, monitor_root.Signal(SIGKILL)))
            actions += self.exited(pid, ExitStatus(126), now_s)
        return actions

    def fork_server(self, host: str, state: str) -> list[Action]:
        """The fork server of that host is "ready" or "dead"."""
        return list(self._fork_gate.turned(host, state))

    # -- events of processes -------------------------------------------------------------

    def from_rank(self, pid: int, frame: object, now_s: float) -> list[Action]:
        """A frame that a process sent."""
        process = self.processes[pid]
        if isinstance(frame, process_root.Join):
            return self._join(process, frame, now_s)
        if isinstance(frame, process_root.Spawn):
            return self._spawn(pid, frame, now_s)
        if isinstance(frame, process_root.Cancel):
            self.erlang_links.cancel(pid, frame.request)
            return self._answered(self.requests.withdraw(pid, frame.request))
        if isinstance(frame, process_root.Watch):
            return self._watch(pid, frame.pid)
        if isinstance(frame, process_root.Kill):
            victim = self.processes.get(frame.pid)
            if victim is None or victim.status is not None:
                return []
            return self._end(victim, frame.signal, now_s, "")
        if isinstance(frame, LinkWith):
            return self._tie(process, frame, now_s)
        if isinstance(frame, process_root.AskCapacity):
            return [Tell(pid, self.requests.capacity_is(frame.request))]
        if isinstance(frame, process_root.Preload):
            return [TellPreload(frame)]
        if isinstance(frame, CONNECTION_FRAMES):
            return list(self.connections.hear(pid, frame))
        if isinstance(frame, Leaving):
            self.connections.retire(pid)
            return [Tell(pid, Farewell())]
        if isinstance(frame, process_root.Raised):
            process.summary, process.trace = frame.summary, frame.trace
            if len(self.starts[process.start]) > 1 and self.interruption is None:
                # Its MPI_Finalize may wait for ranks that wait for it.
                self._kill_timers.later(pid, now_s)
            return []
        if isinstance(frame, process_root.LookedAt):
            if frame.pid in self.processes:
                handled = frame.handled and not process.because  # else it ends, by that perhaps
                self.processes[frame.pid].looked_at(pid, handled=handled)
            return []
        heard = self.erlang_links.hear(pid, frame, self._alive)
        for action in heard:
            if isinstance(action, Named):
                self.processes[action.pid].registered(action.name)
        return list(heard)

    # -- time ----------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = list(self.connections.tick(now_s))
        for pid in self.requests.late(now_s):
            actions += self._complaints.no_room(self.processes[pid], self.shortages(pid))
        for pid, signal in self._kill_timers.due(now_s):
            if self._alive(pid):
                actions.append(Order(pid, monitor_root.Signal(signal)))
        for pid in self._process_table.overdue(now_s):
            what = "still in MPI_Init after" if self.processes[pid].monitored else "nothing came up in"
            actions += self._not_started([pid], f"{what} {START_S:.0f} s", now_s)
        if self.interruption is not None:
            living = self._living()
            notice = self.interruption.notice(now_s, [process.title for process in living])
            actions += [Say(notice)] if notice else []
            if self.interruption.give_up_s <= now_s:
                for process in living:
                    actions += self.exited(process.pid, ExitStatus(137, SIGKILL), now_s)
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        deadlines = (
            self.connections.deadline_s,
            self.requests.deadline_s,
            self._kill_timers.deadline_s,
            self._process_table.deadline_s,
        )
        times = [deadline_s() for deadline_s in deadlines]
        if self.interruption is not None and not self._finished:
            times.append(self.interruption.deadline_s())
        return min((t for t in times if t is not None), default=None)

    # -- decisions -----------------------------------------------------------------------

    def _join(self, process: Process, frame: process_root.Join, now_s: float) -> list[Action]:
        if process.joined:
            return []  # its monitor takes in one process, which joins once
        self._process_table.joined(process, now_s)
        process.interpreter = Interpreter(frame.python, frame.flags, frame.settings)
        process.memory = frame.memory
        limits: list[Action] = []
        if frame.asks:  # a rank has said what it needs; more than there is cannot be given
            process.resources = Resources.of_units(frame.cpu_units, frame.memory_bytes)
            process.asks_memory = frame.asks_memory
            limits = [process.limit(self._enforce)]
            limits += self._answered(self.requests.occupy(process.pid, process.host, process.resources))
        world = self.starts[process.start]
        welcome = process.welcome(
            world if process.start and len(world) > 1 else self.starts[0],
            self._bells,
            self._shared_memory_bytes,
            self._memory(process.pid, process.parent),
            self.erlang_links.linked(process.pid),
            self._deadline_s,
        )
        actions: list[Action] = [*limits, Tell(process.pid, welcome)]
        actions += [
            Tell(pid, process_root.Alive(process.pid, self._memory(pid, process.pid)))
            for pid in sorted(process.watchers)
            if self._alive(pid)
        ]
        actions += self._worlds.begin(process, self._world(process.start))
        number = process.start if len(world) > 1 else -1 - process.pid
        actions += self.connections.join(process.pid, number, process.rank, process.host)
        return actions + list(self._fork_gate.need(process.host, process.interpreter))

    def over_memory(self, pid: int, frame: monitor_root.OverMemory) -> list[Action]:
        """A monitor says that its process uses, or used, more memory than it was granted."""
        return list(self._complaints.over_memory(self.processes[pid], frame))

    def shortages(self, pid: int) -> list[str]:
        """What this process waits for room for, and why there is none; in words."""
        return self.requests.shortages(pid, lambda pid: self.processes[pid].title)

    def _spawn(self, pid: int, frame: process_root.Spawn, now_s: float) -> list[Action]:
        if self.interruption is not None or not self._alive(pid):
            return []
        near = self.processes[frame.near].host if frame.near in self.processes else ""
        return self._answered(self.requests.submit(pid, frame, now_s, near))

    def _answered(self, answers: list[SpawnAnswer]) -> list[Action]:
        actions: list[Action] = []
        for answer in answers:
            pid, frame, place = answer.asker, answer.frame, answer.place
            if isinstance(place, Refuse):
                actions.append(Tell(pid, process_root.Refused(frame.request, place.never, place.reason)))
                continue
            start, parent = len(self.starts), self.processes[pid]
            self.starts[start] = group = []
            for rank, each in enumerate((place, *place.more)):
                child = self._process_table.add(pid, start, rank, frame.label)
                child.placed(frame, each, self._fork_gate.interpreter(each.host, parent, frame))
                self.requests.settled(each, child.pid)
                group.append(child.pid)
                actions.append(Born(child.pid))
                if frame.tie:
                    self.erlang_links.tie(pid, child.pid)
            actions.append(Tell(pid, process_root.Spawned(frame.request, group)))
            actions += self._fork_gate.launch(start, [self.processes[child] for child in group])
        return actions

    def _world(self, start: int) -> list[Process]:
        return [self.processes[pid] for pid in self.starts[start]]

    def _watch(self, pid: int, other: int) -> list[Action]:
        process = self.processes.get(other)
        if process is None:
            gone = ended_frame(other, ExitStatus(1, 0, "there is no such process in this job"))
            return [Tell(pid, gone)]
        if process.status is None:
            process.watchers.add(pid)
            return [Tell(pid, process_root.Alive(other, self._memory(pid, other)))]
        return [Tell(pid, ended_frame(other, process.status))]

    def _memory(self, pid: int, other: int) -> int:
        return memory_between(
            self.processes.get(pid), self.processes.get(other), allowed=self._shared_memory_bytes > 0
        )

    def _fell_together(self, process: Process, now_s: float, by_launcher: bool) -> list[Action]:
        """The ranks of one world stand and fall together, as MPI's users expect."""
        actions: list[Action] = []
        for pid in self.starts[process.start]:
            other = self.processes[pid]
            if other.status is not None or other.doomed:
                continue
            if by_launcher:  # which ends the others too; who fell by itself is still to be heard
                self._kill_timers.later(pid, now_s)
            else:
                actions += self._end(other, SIGTERM, now_s, f"ended with rank {process.rank} of its world")
        return actions

    def _tie(self, process: Process, frame: LinkWith, now_s: float) -> list[Action]:
        tie = self.erlang_links.tie if frame.on else self.erlang_links.untie
        if self._alive(frame.pid):
            told = tie(process.pid, frame.pid)
            # Who has not joined yet learns of it when it does.
            return [tell for tell in told if self.processes[tell.pid].joined]
        if not frame.on:
            return []
        if self.erlang_links.traps(process.pid):
            return []  # it watches, and hears of that end
        # Nobody else fails by that: it is this process's own failure, and its reason.
        process.fault = f"linked itself with {frame.pid:07x}, which had ended before"
        self._kill_timers.later(process.pid, now_s)
        return [Order(process.pid, monitor_root.Signal(SIGTERM))]

    def _end_linked(self, process: Process, now_s: float) -> list[Action]:
        """Those that are linked with a process that ended other than normally end with it."""
        linked = self.erlang_links.ended(process.pid)
        status = process.status
        assert status is not None
        actions: list[Action] = []
        if status.code or status.signal:
            because = f"linked with {process.pid:07x}, which ended: {status}"
            for pid in linked:
                process.looked_at(pid, handled=False)
                if self._alive(pid) and not self.processes[pid].doomed:
                    actions += self._end(self.processes[pid], SIGTERM, now_s, because)
        return actions

    def _end(
        self, process: Process, signal: int, now_s: float, because: str, end: Interruption | None = None
    ) -> list[Action]:
        then, linger_s = (KILL_SOON, 0.0) if end is None else (end.later, end.grace_s)
        process.doomed, process.because = signal, because
        if because:
            self._kill_timers.later(process.pid, now_s, then)
        return [Order(process.pid, monitor_root.Signal(signal, linger_s))] if process.monitored else []

    def _maybe_finish(self) -> list[Action]:
        if self._finished or self._process_table.living_count:
            return []
        self._finished = True
        if self.interruption is not None:
            return [FinishJob(self.interruption.code)]
        first = self.failures.first()
        if first is None:
            return [FinishJob(0)]
        assert first.status is not None
        return [FinishJob(first.status.code)]
