"""The job's state machine in the root: its processes, which started which, how each ended, when the job is
over.

It takes events and returns actions. Everything that the root does is decided here, in the machine's parts
(`spawning`, `endings`, `process_requests`), or in the machines that these share (`job_state`); the root
only carries it out.
"""

from __future__ import annotations

from cmpi._core.job.endings import Endings
from cmpi._core.job.job_actions import Born, Launch, LaunchWorld, Order, Say
from cmpi._core.job.job_state import JobState
from cmpi._core.job.kill_timers import SIGKILL
from cmpi._core.job.process_requests import ProcessRequests
from cmpi._core.job.process_table import START_S
from cmpi._core.job.program import Program
from cmpi._core.job.spawning import Spawning
from cmpi._core.job.start_numbers import DEPLOYED, RANKS
from cmpi._core.protocol import monitor_root
from cmpi._core.scheduling.shares import Share
from cmpi.identifiers import NO_PID, ExitStatus, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._core.job.interpreter import Interpreter
    from cmpi._core.job.interruption import Interruption
    from cmpi._core.job.job_actions import Action
    from cmpi._core.protocol import launcher_root
    from cmpi._core.scheduling.host_room import Host


class JobMachine:
    """The state machine. Methods are the events and return actions; not thread-safe, never blocks.

    Args:
        hosts: Where processes may run.
        settings: See `JobState`.
    """

    def __init__(self, hosts: list[Host], **settings: Any) -> None:
        self._state = state = JobState(hosts, **settings)
        self.processes, self.starts = state.processes, state.starts
        self.requests, self.connections, self.programs = state.requests, state.connections, state.programs
        self._spawning = Spawning(state)
        self._endings = Endings(state, self._spawning)
        self._process_requests = ProcessRequests(state, self._spawning, self._endings)
        self._lost: set[str] = set()  # hosts
        self.shortages = self._spawning.shortages
        self.from_rank = self._process_requests.on_frame
        self.heard_from_rank = self._process_requests.heard

    @property
    def interruption(self) -> Interruption | None:
        """The end of the whole job, if it was asked for."""
        return self._state.own.interruption

    def has_ended(self, pid: int) -> bool:
        """Whether a process with this pid existed and has ended."""
        return self._state.process_table.past.has_been(pid) and not self._state.alive(pid)

    def program_of(self, pid: int) -> Program:
        """The program that a process belongs to."""
        return self._state.program_of(self.processes[pid])

    def waits_for_others(self, owner: int) -> bool:
        """Whether the program of this owner waits for room while another program holds resources."""

        def of(party: int) -> int:
            return party if party in self.programs else NO_PID

        scheduler = self.requests.scheduler
        waits = any(of(party) == owner for party in scheduler.waiting_parties)
        return waits and any(of(party) != owner for party in scheduler.holding_parties)

    # -- events of the launcher ----------------------------------------------------------

    def launch(
        self, argv: list[str], where: list[str], cpu_units: int = 0, *, started: bool = False
    ) -> list[Action]:
        """Start the SPMD ranks on the hosts in `where`, unless cmpirun has `started` them; each occupies
        this share of its host."""
        start = self._state.process_table.new_start(RANKS)
        actions = self._launch(self._state.own, start, " ".join(argv), where, cpu_units)
        return [action for action in actions if isinstance(action, Born) or not started]

    def _launch(
        self,
        program: Program,
        start: int,
        label: str,
        where: list[str],
        cpu_units: int,
        forked: bool = False,
    ) -> list[Action]:
        """Start the ranks of a program; a job for guests has none. `forked`: their monitors are forked."""
        if not where:
            return []
        for rank, host in enumerate(where):
            process = self._state.add(NO_PID, start, rank, label, program.owner)
            process.host, process.resources = host, Resources.of_units(cpu_units, 0)
            self.requests.occupy(process.pid, host, process.resources, program.owner)
        world = self.starts[start]
        one_host = len({*where}) == 1
        first = Launch(start, world, where[0], forked) if one_host else LaunchWorld(start, where)
        return [first, *map(Born, world)]

    # -- events of cmpiruns that deploy programs -------------------------------------------

    def deploy(
        self, order: launcher_root.LaunchJob, interpreter: Interpreter, here: str, now_s: float
    ) -> tuple[int | None, list[Action]]:
        """A cmpirun deploys a program into this job; returns that cmpirun's pid (None: the job is ending).

        Args:
            order: The program; its host, `here`, is filled before others.
            interpreter: The cmpirun's own, which is most likely the program's too.
            here: The root's host, where the cmpirun also runs.
            now_s: The time.
        """
        state = self._state
        if state.own.interruption is not None or state.own.finished:
            return None, []
        label = " ".join(order.argv)
        where = state.requests.place_ranks(len(order.where), here)
        owner = state.add_guest(here, f"cmpirun {label}", "cmpirun")
        state.process_table.joined(owner, now_s)
        if order.cpu_units or order.memory_bytes:
            state.requests.scheduler.bind(owner.pid, Share(order.cpu_units, order.memory_bytes))
        start = state.process_table.new_start(DEPLOYED)
        program = Program(owner.pid, start, order.grace_s, order.strict)
        state.programs[owner.pid] = program
        needed = list(state.fork_gate.need(where[0], interpreter))
        forked = state.fork_gate.ready(where[0])
        launch = self._launch(program, start, label, where, order.rank_cpu_units, forked)
        return owner.pid, [Born(owner.pid), *needed, *launch]

    def forget_program(self, owner: int) -> None:
        """The program that this cmpirun deployed is over and its end is reported: forget it."""
        del self.programs[owner]
        self.requests.scheduler.unbind(owner)

    def host_lost(self, host: str, reason: str, now_s: float) -> list[Action]:
        """A host is out of reach: its processes count as dead, and the others go on."""
        if host in self._lost:
            return []
        self._lost.add(host)
        self._state.fork_gate.lost(host)
        actions: list[Action] = [Say(f"host {host} is lost: {reason}")]
        actions += self.connections.fabric_down(host)
        actions += self._spawning.answered(self.requests.lose(host))
        for process in self._state.living():
            if process.host == host:
                process.fault = f"host lost: {host}: {reason}"
                # The host may still be reachable.
                actions.append(Order(process.pid, monitor_root.Signal(SIGKILL)))
                actions += self._endings.lost(process.pid, now_s)
        return actions

    def host_back(self, host: Host) -> list[Action]:
        """A lost host can be used again, or a new host can be used."""
        what = "is back" if host.name in self._lost else "has been added"
        self._lost.discard(host.name)
        self._state.fork_gate.back(host)
        self.connections.address(host.name, host.address)
        return [Say(f"host {host.name} {what}"), *self._spawning.answered(self.requests.add(host))]

    def interrupt(
        self,
        signal: int,
        now_s: float,
        because: str = "the job was interrupted",
        code: int | None = None,
        *,
        owner: int = NO_PID,
        by_slurm: bool = False,
    ) -> list[Action]:
        """The user wants an end, or going on is pointless: send signals to all, and finally SIGKILL.

        `code` is then cmpirun's exit code (None: derived from the signal). `owner` names the program that
        is to end (NO_PID: the whole job). `by_slurm`: all processes have got the signal already.
        """
        program = self.programs[owner]
        return self._endings.interrupt(program, signal, now_s, because, code, by_slurm=by_slurm)

    def hurry(self, now_s: float, owner: int = NO_PID) -> list[Action]:
        """The user does not want to wait for the end that was requested."""
        program = self.programs[owner]
        assert program.interruption is not None
        program.interruption.hurry(now_s)
        kill = monitor_root.Signal(SIGKILL)
        return [Order(p.pid, kill) for p in self._endings.concerned(program) if p.monitored]

    # -- events of monitors --------------------------------------------------------------

    def monitor_up(
        self, start: int, rank: int, now_s: float, service_port: int = 0
    ) -> tuple[int | None, list[Action]]:
        """A monitor has come up; returns the pid that it is to look after (None: it is not needed)."""
        pids = self.starts.get(start, [])
        if rank >= len(pids) or self.processes[pids[rank]].monitored:
            return None, []
        process = self.processes[pids[rank]]
        if process.status is not None:
            return None, []
        if process.doomed:
            return None, self.exited(process.pid, ExitStatus(128 + process.doomed, process.doomed), now_s)
        self._state.process_table.monitored(process, now_s)
        limits: list[Action] = [] if process.is_rank else [process.limit(self._state.enforce)]
        world = self._state.world(start)
        return process.pid, limits + list(self._state.worlds.monitored(process, service_port, world))

    def used(self, pid: int, frame: monitor_root.ProcessExited) -> None:
        """Note the resources that a process had used when it ended."""
        process = self.processes[pid]
        process.peak_bytes, process.cpu_s, process.core = frame.peak_rss_bytes, frame.cpu_s, frame.core

    def exited(self, pid: int, status: ExitStatus, now_s: float, by_launcher: bool = False) -> list[Action]:
        """A process has ended; `status` is what its monitor saw.

        `by_launcher`: MPI's own launcher told the monitor to end it. This happens to the other ranks of a
        world when one dies, and may be reported before that death.
        """
        return self._endings.exited(pid, status, now_s, by_launcher)

    def monitor_lost(self, pid: int, now_s: float) -> list[Action]:
        """A monitor's connection closed before it reported an exit: its process dies with it."""
        actions = self.exited(pid, ExitStatus(137, SIGKILL, "its monitor was lost"), now_s)
        return actions + self.monitor_left(pid)

    def monitor_left(self, pid: int) -> list[Action]:
        """A monitor has left a process of which nothing remains."""
        return self._state.over(self.processes[pid])

    def over_memory(self, pid: int, frame: monitor_root.OverMemory) -> list[Action]:
        """A monitor reports that its process uses, or used, more memory than it was granted."""
        return list(self._state.complaints.over_memory(self.processes[pid], frame))

    # -- events of guests ------------------------------------------------------------------

    def guest_up(self, label: str, host: str, now_s: float) -> tuple[int | None, list[Action]]:
        """A process that the job has not started has joined; returns its pid (None: the job is ending)."""
        state = self._state
        if state.own.interruption is not None or state.own.finished:
            return None, []
        guest = state.add_guest(host, label, "guest")
        return guest.pid, [Born(guest.pid)]

    def guest_ended(self, pid: int, status: ExitStatus, now_s: float) -> list[Action]:
        """A guest has ended or left the job: end what it and its children have spawned."""
        return self._endings.guest_ended(pid, status, now_s)

    # -- events of those who start processes -----------------------------------------------

    def start_failed(self, start: int, reason: str, now_s: float) -> list[Action]:
        """MPI could not start these processes, or could not complete the start of some that are running."""
        if start not in self.starts:
            return []  # they had failed before, and are forgotten
        silent = [process.pid for process in self._state.world(start) if not process.monitored]
        return self._endings.not_started(silent, reason, now_s)

    def fork_server(self, host: str, state: str) -> list[Action]:
        """The fork server of that host is "ready" or "dead"."""
        return list(self._state.fork_gate.turned(host, state))

    # -- time ----------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        state = self._state
        actions: list[Action] = list(self.connections.tick(now_s))
        for pid in self.requests.late(now_s):
            actions += state.complaints.no_room(self.processes[pid], self.shortages(pid))
        for pid, signal in state.kill_timers.due(now_s):
            if state.alive(pid):
                actions.append(Order(pid, monitor_root.Signal(signal)))
        for pid in state.process_table.overdue(now_s):
            what = "still in MPI_Init after" if self.processes[pid].monitored else "no monitor within"
            actions += self._endings.not_started([pid], f"{what} {START_S:.0f} s", now_s)
        for program in list(self.programs.values()):
            end = program.interruption
            if end is None or program.finished:
                continue
            titles = [process.title for process in self._endings.concerned(program)]
            notice = end.notice(now_s, titles)
            actions += [Say(notice, program.owner)] if notice else []
            if end.give_up_s <= now_s:
                actions += self._endings.give_up(program, now_s)
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        state = self._state
        deadlines = (
            self.connections.deadline_s,
            self.requests.deadline_s,
            state.kill_timers.deadline_s,
            state.process_table.deadline_s,
        )
        times = [deadline_s() for deadline_s in deadlines]
        ends = [it.interruption for it in self.programs.values() if not it.finished]
        times += [end.deadline_s() for end in ends if end is not None]
        return min((t for t in times if t is not None), default=None)
