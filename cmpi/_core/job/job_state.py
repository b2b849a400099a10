"""The state that the parts of the job machine share: the processes, and a machine for each subject."""

from __future__ import annotations

from _blake2 import blake2b

from cmpi._core.job.complaints import Complaints
from cmpi._core.job.connection_broker import PATIENCE_S, ConnectionBroker
from cmpi._core.job.erlang_links import ErlangLinks
from cmpi._core.job.fabric import Fabric
from cmpi._core.job.fork_gate import ForkGate
from cmpi._core.job.job_actions import Forget
from cmpi._core.job.kill_timers import GRACE_S, KillTimers
from cmpi._core.job.process_record import memory_between
from cmpi._core.job.process_table import ProcessTable
from cmpi._core.job.program import Program
from cmpi._core.job.start_numbers import RANKS, SPAWNED
from cmpi._core.job.world import WorldStarts
from cmpi._core.scheduling.spawn_queue import SpawnQueue
from cmpi.identifiers import NO_PID, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.job_actions import Action
    from cmpi._core.job.process_record import Process
    from cmpi._core.scheduling.host_room import Host


class JobState:
    """The state of a job. No decisions are made here.

    Args:
        hosts: Where processes may run.
        seed: Determines the first pid; any number, different for each job.
        bells: The folder of the doorbells and of the sockets by which processes connect; processes learn it
            when they join.
        shared_memory_bytes: How much shared memory one process may use to send to one other.
        enforce: The value of --enforce, or "".
        secret: The keys of socket connections are derived from it.
        deadline_s: When the job's time limit ends it, in seconds since 1970; 0: never.
        grace_s: The time between the first signal and SIGKILL, when the user ends the job.
        strict: Failures count even if another process has dealt with them.
        standing: The job goes on without processes until it is interrupted.
        patience_s: How long attempts to replace a dropped socket may fail.
        fabric: The hosts that get fabric agents.
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
        patience_s: float = PATIENCE_S,
        fabric: list[str] | None = None,
    ) -> None:
        self.bells, self.enforce, self.deadline_s = bells, enforce, deadline_s
        self.shared_memory_bytes, self.standing = shared_memory_bytes, standing
        self.process_table = ProcessTable(seed)
        self.processes, self.starts = self.process_table.processes, self.process_table.starts
        self.alive, self.living = self.process_table.alive, self.process_table.living
        self.requests = SpawnQueue(hosts)
        key = blake2b(b"fabric agents", key=secret, digest_size=32).digest()
        addresses = {host.name: host.address for host in hosts}
        fabric_ = Fabric(fabric or [], key)
        self.connections = ConnectionBroker(addresses, secret, bells, patience_s, fabric_)
        self.erlang_links = ErlangLinks()
        self.fork_gate = ForkGate(hosts)
        self.worlds = WorldStarts(self.connections.address_of)
        self.kill_timers = KillTimers()
        self.own = Program(NO_PID, RANKS, grace_s, strict)
        self.programs = {NO_PID: self.own}  # and the deployed ones, by owner
        self.complaints = Complaints()

    def add(self, parent: int, start: int, rank: int, label: str, guest: int = NO_PID) -> Process:
        """Add a process; `guest` is the guest or deploying cmpirun that it belongs to."""
        process = self.process_table.add(parent, start, rank, label)
        process.guest = guest
        self.program_of(process).members[process.pid] = process
        return process

    def add_guest(self, host: str, label: str, name: str) -> Process:
        """Add a process on this host that the job has not started."""
        start = self.process_table.new_start(SPAWNED)
        guest = self.add(NO_PID, start, 0, label)
        guest.came_as_guest(host, name)
        self.requests.occupy(guest.pid, host, Resources(0, 0))
        return guest

    def over(self, process: Process) -> list[Action]:
        """Note that an ended process will send nothing more; drop the oldest records if there are too
        many."""
        actions: list[Action] = []
        for start in self.process_table.over(process, self._needed):
            gone = self.process_table.forget(start)
            for each in gone:
                program = self.program_of(each)
                program.failures.forget(each.pid)
                for one in {program, self.own}:  # the job's own sums cover all programs
                    one.usage.add(each)
            self.worlds.forget(start)
            actions.append(Forget([each.pid for each in gone]))
        return actions

    def _needed(self, start: int) -> bool:
        """Whether the records of a start are still needed, though all its processes are over."""
        if any(program.start == start for program in self.programs.values()):
            return True  # processes that these spawned are told about their world
        return any(self._to_be_told(process) for process in self.world(start))

    def _to_be_told(self, process: Process) -> bool:
        """Whether this is a failure that must still be reported to somebody."""
        somebody = process.guest == NO_PID or self.alive(process.guest)
        return somebody and self.program_of(process).failures.needs(process)

    def program_of(self, process: Process) -> Program:
        """The program that a process belongs to. A cmpirun that deploys a program belongs itself to the
        job's own."""
        return self.own if process.is_guest else self.programs.get(process.guest, self.own)

    def ending(self, process: Process) -> bool:
        """Whether a process must end because its program, or the whole job, is ending."""
        ends = self.program_of(process).interruption is not None
        return ends or self.own.interruption is not None

    def world(self, start: int) -> list[Process]:
        """The processes of a start, by rank."""
        return [self.processes[pid] for pid in self.starts[start]]

    def outlived_its_guest(self, pid: int) -> bool:
        """Whether a process belongs to a guest that has ended, so that it must end too."""
        guest = self.processes[pid].guest
        return guest != NO_PID and not self.alive(guest)

    def memory(self, pid: int, other: int) -> int:
        """Whether these two can communicate through shared memory: a `process_root.MEMORY_*`."""
        one, another = self.processes.get(pid), self.processes.get(other)
        return memory_between(one, another, allowed=self.shared_memory_bytes > 0)
