"""The state that the parts of the job machine share: the processes, and a machine for each subject."""

from __future__ import annotations

from cmpi._core.job.complaints import Complaints
from cmpi._core.job.connection_broker import ConnectionBroker
from cmpi._core.job.erlang_links import ErlangLinks
from cmpi._core.job.fork_gate import ForkGate
from cmpi._core.job.job_actions import Forget
from cmpi._core.job.kill_timers import GRACE_S, KillTimers
from cmpi._core.job.process_record import memory_between
from cmpi._core.job.process_table import ProcessTable
from cmpi._core.job.program import Program
from cmpi._core.job.spawn_queue import SpawnQueue
from cmpi._core.job.start_numbers import RANKS, SPAWNED
from cmpi._core.job.world import WorldStarts
from cmpi.identifiers import NO_PID, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.host_room import Host
    from cmpi._core.job.job_actions import Action
    from cmpi._core.job.process_record import Process


class JobState:
    """The state of a job. No decisions are made here.

    Args:
        hosts: Where processes may run.
        seed: Where the pids start; any number, another for each job.
        bells: The folder of the doorbells, which processes are told when they join, and of the sockets by
            which they connect to each other.
        shared_memory_bytes: How much memory one process may share with one other to send to it.
        enforce: The value of --enforce, or "".
        secret: Out of which the keys of connections by sockets are made.
        deadline_s: When the job will be ended, in seconds since 1970; 0: never.
        grace_s: Between the first signal and SIGKILL, when the user ends the job.
        strict: A failure counts though another process has looked at it.
        standing: The job goes on when no process is left, until it is interrupted.
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
        standing: bool = False,
    ) -> None:
        self.bells, self.enforce, self.deadline_s = bells, enforce, deadline_s
        self.shared_memory_bytes, self.standing = shared_memory_bytes, standing
        self.process_table = ProcessTable(seed)
        self.processes, self.starts = self.process_table.processes, self.process_table.starts
        self.alive, self.living = self.process_table.alive, self.process_table.living
        self.requests = SpawnQueue(hosts)
        self.connections = ConnectionBroker({host.name: host.address for host in hosts}, secret, bells)
        self.erlang_links = ErlangLinks()
        self.fork_gate = ForkGate(hosts)
        self.worlds = WorldStarts(self.connections.address_of)
        self.kill_timers = KillTimers()
        self.own = Program(NO_PID, RANKS, grace_s, strict)
        self.programs = {NO_PID: self.own}  # and those that were deployed, by their owners
        self.complaints = Complaints()

    def add(self, parent: int, start: int, rank: int, label: str, guest: int = NO_PID) -> Process:
        """A new process, of this `guest` or deploying cmpirun."""
        process = self.process_table.add(parent, start, rank, label)
        process.guest = guest
        self.program_of(process).members[process.pid] = process
        return process

    def add_guest(self, host: str, label: str, name: str) -> Process:
        """A process that the job has not started, on this host."""
        start = self.process_table.new_start(SPAWNED)
        guest = self.add(NO_PID, start, 0, label)
        guest.came_as_guest(host, name)
        self.requests.occupy(guest.pid, host, Resources(0, 0))
        return guest

    def over(self, process: Process) -> list[Action]:
        """Nothing more will be heard of a process that has ended; some that ended before may be
        forgotten."""
        actions: list[Action] = []
        for start in self.process_table.over(process, self._needed):
            gone = self.process_table.forget(start)
            for each in gone:
                program = self.program_of(each)
                program.failures.forget(each.pid)
                for one in {program, self.own}:  # the job's own sums are of all
                    one.usage.add(each)
            self.worlds.forget(start)
            actions.append(Forget([each.pid for each in gone]))
        return actions

    def _needed(self, start: int) -> bool:
        """Whether the records of a start, whose processes are all over, may still be asked for."""
        if any(program.start == start for program in self.programs.values()):
            return True  # what its processes have spawned is told of its world
        return any(self._to_be_told(process) for process in self.world(start))

    def _to_be_told(self, process: Process) -> bool:
        """Whether this is a failure that somebody is still to be told of."""
        somebody = process.guest == NO_PID or self.alive(process.guest)
        return somebody and self.program_of(process).failures.needs(process)

    def program_of(self, process: Process) -> Program:
        """The program that a process is part of. A cmpirun that deploys one is itself of the job's own."""
        return self.own if process.is_guest else self.programs.get(process.guest, self.own)

    def ending(self, process: Process) -> bool:
        """Whether a process is to end because its program, or the whole job, is."""
        ends = self.program_of(process).interruption is not None
        return ends or self.own.interruption is not None

    def world(self, start: int) -> list[Process]:
        """The processes of a start, by rank."""
        return [self.processes[pid] for pid in self.starts[start]]

    def bereft(self, pid: int) -> bool:
        """Whether a process is a guest's, and that guest has ended: so does the process."""
        guest = self.processes[pid].guest
        return guest != NO_PID and not self.alive(guest)

    def memory(self, pid: int, other: int) -> int:
        """Whether these two can send to each other through shared memory: a `process_root.MEMORY_*`."""
        one, another = self.processes.get(pid), self.processes.get(other)
        return memory_between(one, another, allowed=self.shared_memory_bytes > 0)
