"""What the parts of the job machine share: the processes, and a machine for each subject."""

from __future__ import annotations

from cmpi._core.job.complaints import Complaints
from cmpi._core.job.connection_broker import ConnectionBroker
from cmpi._core.job.erlang_links import ErlangLinks
from cmpi._core.job.failures import Failures
from cmpi._core.job.fork_gate import ForkGate
from cmpi._core.job.kill_timers import GRACE_S, KillTimers
from cmpi._core.job.process_record import memory_between
from cmpi._core.job.process_table import ProcessTable
from cmpi._core.job.spawn_queue import SpawnQueue
from cmpi._core.job.world import WorldStarts
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.host_room import Host
    from cmpi._core.job.interruption import Interruption
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
        self.bells, self.enforce, self.deadline_s, self.grace_s = bells, enforce, deadline_s, grace_s
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
        self.failures = Failures(strict)
        self.complaints = Complaints()
        self.interruption: Interruption | None = None

    def world(self, start: int) -> list[Process]:
        """The processes of a start, by rank."""
        return [self.processes[pid] for pid in self.starts[start]]

    def bereft(self, pid: int) -> bool:
        """Whether a process is a guest's, and that guest has ended: so does the process."""
        guest = self.processes[pid].guest
        return guest != NO_PID and self.processes[guest].status is not None

    def memory(self, pid: int, other: int) -> int:
        """Whether these two can send to each other through shared memory: a `process_root.MEMORY_*`."""
        one, another = self.processes.get(pid), self.processes.get(other)
        return memory_between(one, another, allowed=self.shared_memory_bytes > 0)
