"""The job as the root sees it: processes, who started whom, how each ended, when all is over.

The machine of the root rank: events in, actions out. Everything the root does is decided here
or in the two machines it owns, `Scheduler` and `LinkTable`; the root's shell only carries out.
"""

from __future__ import annotations

from cmpi._core import frames
from cmpi._core.job_actions import Born, Died, Finish, Launch, NeedForkServer, Order, Preload
from cmpi._core.links import Ask, LinkTable, Tell
from cmpi._core.process import Process
from cmpi._core.scheduler import Cancel, Host, Place, Refuse, Release, Scheduler, Submit
from cmpi._ids import PID_BITS, RAISED, Capacity, ExitStatus, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

KILL_AFTER_S = 1.0  # between SIGTERM and SIGKILL
START_S = 60.0  # for the next of the processes that are being started to report
LINKING_S = 1.0  # for a link to be made before a process that a program wants killed is killed
GIVE_UP_AFTER_S = 1.0  # between SIGKILL and going on without an answer
SIGKILL, SIGTERM = 9, 15


if TYPE_CHECKING:
    Action: TypeAlias = "Tell | Ask | Order | Launch | NeedForkServer | Preload | Born | Died | Finish"


class Job:
    """The machine. Methods are the events and return actions; not thread-safe, never blocks.

    Args:
        hosts: Where processes may run; SPMD ranks start on the first.
        seed: Where the pids start; any number, another for each job.
        bells: The folder of the doorbells, which processes are told when they join.
        shared_memory_bytes: How much memory one process may share with one other to send to it.
    """

    def __init__(
        self,
        hosts: list[Host],
        seed: int = 0,
        bells: str = "",
        shared_memory_bytes: int = 0,
    ) -> None:
        self._bells = bells
        self._shared_memory_bytes = shared_memory_bytes
        self.scheduler = Scheduler(hosts)
        self.links = LinkTable()
        self.processes: dict[int, Process] = {}
        self.starts: dict[int, list[int]] = {}
        self.first_failure: int | None = None
        self.interrupted = 0
        self._ended_by_launcher: list[int] = []
        self._seed = seed
        self._made = self._living_count = 0
        self._unreported: set[int] = set()  # started, and no monitor of theirs has been heard of
        self._start_seen_s: float | None = None  # when the last of them was; None: look at the clock
        self._tickets: dict[int, tuple[int, frames.Spawn]] = {}  # ticket: who asked, for what
        self._ticket_of: dict[tuple[int, int], int] = {}  # (who asked, its request): ticket
        self._ticket_of_pid: dict[int, int] = {}
        self._next_ticket = 1
        self._fork_server = "off"  # then "loading", "ready" or "dead"
        self._fork_python = ""
        self._held: list[Launch] = []  # until the fork server is ready or dead
        self._escalate: list[tuple[float, int]] = []  # when to kill whom for good
        self._held_kills: dict[int, float] = {}  # whom to kill as soon as its link stands, or then
        self._give_up_s: float | None = None
        self._finished = False

    # -- events of the launcher ----------------------------------------------------------

    def launch(self, argv: list[str], n: int) -> list[Action]:
        """Start the n SPMD ranks."""
        host = next(iter(self.scheduler.hosts))
        start = len(self.starts)
        world = [self._new(frames.NO_PID, start, rank, " ".join(argv)).pid for rank in range(n)]
        self.starts[start] = world
        for pid in world:
            process = self.processes[pid]
            process.host = host
            ticket = self._ticket(pid)
            resources = process.resources
            self.scheduler.occupy(ticket, host, resources.cpu_units, resources.memory_bytes)
        return [Launch(start, world, host, False), *[Born(pid) for pid in world]]

    def interrupt(self, signal: int, now_s: float) -> list[Action]:
        """The person wants an end: SIGTERM to all, SIGKILL later."""
        if self.interrupted:
            return []
        self.interrupted = signal
        self._give_up_s = now_s + KILL_AFTER_S + GIVE_UP_AFTER_S
        for ticket in list(self._tickets):
            self.scheduler.handle(Cancel(ticket))
        self._tickets.clear()
        self._ticket_of.clear()
        actions: list[Action] = []
        for process in self._living():
            actions += self._end(process, SIGTERM, now_s, "the job was interrupted")
        return actions + self._maybe_finish()

    # -- events of monitors --------------------------------------------------------------

    def monitor_up(self, start: int, rank: int, now_s: float) -> tuple[int | None, list[Action]]:
        """A monitor reports; returns the pid it is to look after (None: it is not wanted)."""
        pids = self.starts.get(start, [])
        if rank >= len(pids) or self.processes[pids[rank]].monitored:
            return None, []
        process = self.processes[pids[rank]]
        process.monitored = True
        self._unreported.discard(process.pid)
        self._start_seen_s = now_s
        if process.status is not None:
            return None, []
        if process.doomed:
            return None, self.exited(process.pid, ExitStatus(128 + process.doomed, process.doomed), now_s)
        return process.pid, []

    def exited(self, pid: int, status: ExitStatus, now_s: float, by_launcher: bool = False) -> list[Action]:
        """A process has ended; `status` is what its monitor saw.

        `by_launcher`: because MPI's own launcher told the monitor to end it, which happens to the
        other ranks of a world when one dies, and may be reported before that one's death.
        """
        process = self.processes[pid]
        if process.status is not None:
            return []
        verdict = process.because or process.fault or process.summary or status.verdict
        self._living_count -= 1
        self._unreported.discard(pid)
        if process.summary and status.signal == SIGKILL and not process.doomed:
            status = ExitStatus(RAISED)  # killed by us where its exception could not end it
        # Sent away with the others, it may leave by any code; killed by the program, by the signal.
        requested = bool(process.because) or status.signal == process.doomed != 0
        process.status = status = ExitStatus(status.code, status.signal, verdict, requested)
        process.order = None
        actions: list[Action] = [Died(pid)]
        if by_launcher and not status.ok:
            self._ended_by_launcher.append(pid)
        elif not status.ok and self.first_failure is None:
            self.first_failure = pid
        ended = frames.Ended(pid, status.code, status.signal, verdict, status.requested)
        actions += [Tell(watcher, ended) for watcher in sorted(process.watchers) if self._alive(watcher)]
        self.links.leave(pid, now_s)
        for key in [key for key in self._ticket_of if key[0] == pid]:
            actions += self._cancel(self._ticket_of[key])
        actions += self._scheduled(self.scheduler.handle(Release(self._ticket_of_pid.pop(pid))))
        if not status.ok:
            actions += self._fell_together(process, now_s, by_launcher)
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
            self.processes[pid].fault = f"could not be started: {reason}"
            actions += self.exited(pid, ExitStatus(126), now_s)
        return actions

    def fork_server(self, state: str) -> list[Action]:
        """The fork server is "ready" or "dead"."""
        self._fork_server = state
        held, self._held = self._held, []
        ready = state == "ready"
        return [
            Launch(x.start, x.pids, x.host, ready and self.processes[x.pids[0]].python == self._fork_python)
            for x in held
        ]

    # -- events of processes -------------------------------------------------------------

    def from_rank(self, pid: int, frame: object, now_s: float) -> list[Action]:
        """A frame that a process sent."""
        process = self.processes[pid]
        if isinstance(frame, frames.Join):
            return self._join(process, frame)
        if isinstance(frame, frames.Spawn):
            return self._spawn(pid, frame)
        if isinstance(frame, frames.CancelSpawn):
            ticket = self._ticket_of.get((pid, frame.request))
            return [] if ticket is None else self._cancel(ticket)
        if isinstance(frame, frames.Watch):
            return self._watch(pid, frame.pid)
        if isinstance(frame, frames.Kill):
            victim = self.processes.get(frame.pid)
            if victim is None or victim.status is not None:
                return []
            return self._end(victim, frame.signal, now_s, "")
        if isinstance(frame, frames.AskCapacity):
            return [Tell(pid, self._capacity(frame.request))]
        if isinstance(frame, frames.Preload):
            return [Preload(frame)]
        if isinstance(frame, frames.Link):
            return list(self.links.want(pid, frame.peer))
        if isinstance(frame, frames.Stuck):
            return list(self.links.stuck(pid, frame.peer))
        if isinstance(frame, frames.LinkUp):
            return [*self.links.up(pid, frame.peer), *self._kill_held(now_s)]
        if isinstance(frame, frames.LinkFailed):
            return [*self.links.failed(pid, frame.peer), *self._kill_held(now_s)]
        if isinstance(frame, frames.Leaving):
            self.links.retire(pid)
            return [Tell(pid, frames.Farewell())]
        if isinstance(frame, frames.Raised):
            process.summary = frame.summary
            if len(self.starts[process.start]) > 1:
                # Its MPI_Finalize may wait for ranks that wait for it.
                self._escalate.append((now_s + KILL_AFTER_S, pid))
        return []

    # -- time ----------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = list(self.links.tick(now_s))
        due = [pid for when_s, pid in self._escalate if when_s <= now_s]
        self._escalate = [item for item in self._escalate if item[0] > now_s]
        actions += [Order(pid, frames.Signal(SIGKILL)) for pid in due if self._alive(pid)]
        actions += self._kill_held(now_s)
        if self._unreported:
            if self._start_seen_s is None:
                self._start_seen_s = now_s
            if self._start_seen_s + START_S <= now_s:  # MPI itself never says that it cannot
                reason = f"nothing came up in {START_S:.0f} s"
                actions += self._not_started(list(self._unreported), reason, now_s)
        if self._give_up_s is not None and self._give_up_s <= now_s:
            for process in self._living():
                actions += self.exited(process.pid, ExitStatus(137, SIGKILL), now_s)
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        times = [when_s for when_s, _ in self._escalate] + list(self._held_kills.values())
        times += [t for t in (self.links.deadline_s(), self._give_up_s) if t is not None]
        if self._unreported and self._start_seen_s is not None:
            times.append(self._start_seen_s + START_S)
        return min(times, default=None)

    # -- decisions -----------------------------------------------------------------------

    def capacity(self) -> Capacity:
        """All that the job has, and what is free of it."""
        hosts = self.scheduler.hosts.values()
        total = Resources.of_units(sum(h.cpu_units for h in hosts), sum(h.memory_bytes for h in hosts))
        free_cpu_units = sum(host.free_cpu_units for host in hosts)
        free_memory_bytes = sum(host.free_memory_bytes for host in hosts)
        return Capacity(total, Resources.of_units(free_cpu_units, free_memory_bytes))

    def _new(self, parent: int, start: int, rank: int, label: str) -> Process:
        # An odd multiplier permutes the numbers below 2**28: pids look different, never repeat.
        mask = (1 << PID_BITS) - 1
        pid = ((self._seed + self._made) * 0x9E3779B1) & mask
        self._made += 1
        self._living_count += 1
        process = self.processes[pid] = Process(pid, parent, start, rank, label)
        if not self._unreported:
            self._start_seen_s = None
        self._unreported.add(pid)
        return process

    def _ticket(self, pid: int | None = None) -> int:
        ticket = self._next_ticket
        self._next_ticket += 1
        if pid is not None:
            self._ticket_of_pid[pid] = ticket
        return ticket

    def _join(self, process: Process, frame: frames.Join) -> list[Action]:
        if process.joined:
            why = "another process of this rank uses cmpi already, and there can be only one"
            return [Tell(process.pid, frames.Refused(0, True, why))]
        process.joined, process.python, process.memory = True, frame.python, frame.memory
        if frame.asks:
            self._resize(process, frame.cpu_units, frame.memory_bytes)
        world = self.starts[process.start]
        welcome = frames.Welcome(
            process.pid,
            process.parent,
            process.rank,
            self.starts[0],
            process.resources.cpu_units,
            process.resources.memory_bytes,
            self._bells,
            self._shared_memory_bytes,
            self._memory(process.pid, process.parent),
        )
        actions: list[Action] = [Tell(process.pid, welcome)]
        actions += [
            Tell(pid, frames.Alive(process.pid, self._memory(pid, process.pid)))
            for pid in sorted(process.watchers)
            if self._alive(pid)
        ]
        if process.order is not None:
            order, process.order = process.order, None
            actions.append(Tell(process.pid, frames.Closure(order.closure, order.context, order.inline)))
        number = process.start if len(world) > 1 else -1 - process.pid
        actions += self.links.join(process.pid, frame.port, number, process.rank)
        return actions + self._need_fork_server(frame.python)

    def _resize(self, process: Process, cpu_units: int, memory_bytes: int) -> None:
        """An SPMD rank has said what it needs; more than there is cannot be given."""
        ticket = self._ticket_of_pid[process.pid]
        self.scheduler.handle(Release(ticket))
        self.scheduler.occupy(ticket, process.host, cpu_units, memory_bytes)
        process.resources = Resources.of_units(cpu_units, memory_bytes)

    def _spawn(self, pid: int, frame: frames.Spawn) -> list[Action]:
        if self.interrupted or not self._alive(pid):
            return []
        ticket = self._ticket()
        self._tickets[ticket] = (pid, frame)
        self._ticket_of[pid, frame.request] = ticket
        request = Submit(ticket, pid, frame.cpu_units, frame.memory_bytes, bool(frame.wait))
        return self._scheduled(self.scheduler.handle(request))

    def _scheduled(self, answers: list[Place | Refuse]) -> list[Action]:
        actions: list[Action] = []
        for answer in answers:
            pid, frame = self._tickets.pop(answer.ticket)
            del self._ticket_of[pid, frame.request]
            if isinstance(answer, Refuse):
                actions.append(Tell(pid, frames.Refused(frame.request, answer.never, answer.reason)))
                continue
            start = len(self.starts)
            child = self._new(pid, start, 0, frame.label)
            child.host, child.order = answer.host, frame
            child.resources = Resources.of_units(frame.cpu_units, frame.memory_bytes)
            child.python = self.processes[pid].python
            self.starts[start] = [child.pid]
            self._ticket_of_pid[child.pid] = answer.ticket
            actions += [Born(child.pid), Tell(pid, frames.Spawned(frame.request, child.pid))]
            forked = self._fork_server == "ready" and child.python == self._fork_python
            launch = Launch(start, [child.pid], answer.host, forked)
            if self._fork_server == "loading":
                self._held.append(launch)
            else:
                actions.append(launch)
        return actions

    def _cancel(self, ticket: int) -> list[Action]:
        pid, frame = self._tickets.pop(ticket)
        del self._ticket_of[pid, frame.request]
        return self._scheduled(self.scheduler.handle(Cancel(ticket)))

    def _watch(self, pid: int, other: int) -> list[Action]:
        process = self.processes.get(other)
        if process is None:
            gone = frames.Ended(other, 1, 0, "there is no such process in this job", False)
            return [Tell(pid, gone)]
        if process.status is None:
            process.watchers.add(pid)
            return [Tell(pid, frames.Alive(other, self._memory(pid, other)))]
        s = process.status
        return [Tell(pid, frames.Ended(other, s.code, s.signal, s.verdict, s.requested))]

    def _memory(self, pid: int, other: int) -> int:
        """Whether these two can send to each other through shared memory."""
        one, two = self.processes.get(pid), self.processes.get(other)
        if one is None or two is None or not (one.joined and two.joined):
            return frames.MEMORY_UNKNOWN
        shared = self._shared_memory_bytes and one.memory and one.memory == two.memory
        return frames.MEMORY_SHARED if shared else frames.MEMORY_APART

    def _capacity(self, request: int) -> frames.CapacityIs:
        capacity = self.capacity()
        return frames.CapacityIs(
            request,
            capacity.total.cpu_units,
            capacity.total.memory_bytes,
            capacity.free.cpu_units,
            capacity.free.memory_bytes,
        )

    def _need_fork_server(self, python: str) -> list[Action]:
        if self._fork_server != "off":
            return []
        self._fork_server, self._fork_python = "loading", python
        return [NeedForkServer(python)]

    def _fell_together(self, process: Process, now_s: float, by_launcher: bool) -> list[Action]:
        """The ranks of one world stand and fall together, as MPI's users expect."""
        actions: list[Action] = []
        for pid in self.starts[process.start]:
            other = self.processes[pid]
            if other.status is not None or other.doomed:
                continue
            if by_launcher:  # which ends the others too; who fell by itself is still to be heard
                self._escalate.append((now_s + KILL_AFTER_S, pid))
            else:
                actions += self._end(other, SIGTERM, now_s, f"ended with rank {process.rank} of its world")
        return actions

    def _end(self, process: Process, signal: int, now_s: float, because: str) -> list[Action]:
        process.doomed, process.because = signal, because
        if because:
            self._escalate.append((now_s + KILL_AFTER_S, process.pid))
        elif self.links.linking(process.pid):
            # A few milliseconds later it harms nobody; now its partner would be left inside MPI,
            # with MPICH to crash there, with Open MPI to wait.
            self.links.retire(process.pid)
            self._held_kills[process.pid] = now_s + LINKING_S
            return []
        return [Order(process.pid, frames.Signal(signal))] if process.monitored else []

    def _kill_held(self, now_s: float) -> list[Action]:
        due = [p for p, when_s in self._held_kills.items() if when_s <= now_s or not self.links.linking(p)]
        for pid in due:
            del self._held_kills[pid]
        return [Order(p, frames.Signal(self.processes[p].doomed)) for p in due if self._alive(p)]

    def _alive(self, pid: int) -> bool:
        return pid in self.processes and self.processes[pid].status is None

    def _living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.status is None]

    def _maybe_finish(self) -> list[Action]:
        if self._finished or self._living_count:
            return []
        self._finished = True
        if self.interrupted:
            return [Finish(128 + self.interrupted)]
        if self.first_failure is None and self._ended_by_launcher:
            self.first_failure = self._ended_by_launcher[0]
        if self.first_failure is None:
            return [Finish(0)]
        status = self.processes[self.first_failure].status
        assert status is not None
        return [Finish(status.code)]
