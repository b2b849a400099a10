"""`Console`: the root's state for one program: its cmpirun's order and terminal, and its deadlock check."""

from __future__ import annotations

from cmpi._core.job.deadlock import DeadlockCheck
from cmpi._core.protocol.launcher_root import HOSTS
from cmpi._core.protocol.wire import Decoder
from cmpi._runtime.root.bridge import make_bridge
from cmpi._runtime.root.stack_watch import StackWatch
from cmpi._runtime.stdin_feeder import StdinFeeder
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._core.protocol import launcher_root
    from cmpi._runtime.output_log import OutputLog
    from cmpi._runtime.root.root_loop import RootLoop


class Console:
    """The console of the job's own program, or of a deployed one.

    Args:
        owner: The cmpirun that has deployed the program; NO_PID: it is the job's own.
        order: The cmpirun's order.
        terminal: The descriptors 0, 1 and 2 of that cmpirun.
        job: The job.
        loop: The root's loop.
        do: Carries out actions.
        printed: Called in the root's loop with a pid and the number of its bytes that were printed.
        unread: Called there when the reader of stdout has closed it.
        log: Keeps the output, which is then not written to the terminal.

    Attributes:
        places: The cmpirun's description of each host where the program is in another folder.
    """

    def __init__(
        self,
        owner: int,
        order: launcher_root.LaunchJob,
        terminal: list[int],
        job: JobMachine,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        printed: Callable[[int, int], None],
        unread: Callable[[], None],
        log: OutputLog | None = None,
    ) -> None:
        self.owner, self.order = owner, order
        self.places = {it.name: it for it in Decoder(HOSTS).feed(order.hosts)}
        self._job, self._do = job, do
        self.bridge = make_bridge(
            order,
            terminal,
            lambda pid, nbytes: loop.post(lambda: printed(pid, nbytes)),
            lambda: loop.post(unread),
            log,
        )
        self.feeder = StdinFeeder(terminal[0])
        self.deadlock = DeadlockCheck(owner)
        self.stacks = StackWatch(job, owner, self.deadlock.blocked, do, self.say, order.report_mpi_waits_s)

    def say(self, text: str) -> None:
        """Show the user a message, whose first line begins with "cmpirun: "."""
        self.bridge.say(f"cmpirun: {text}\n")

    def born(self, pid: int) -> None:
        """A process was started."""
        self.deadlock.born(pid)
        self.stacks.moved()
        process = self._job.processes[pid]
        self.bridge.born(process, process.parent if process.parent in self._job.processes else None)

    def died(self, pid: int) -> None:
        """A process has ended."""
        process = self._job.processes[pid]
        assert process.status is not None
        self.stacks.moved()
        self.bridge.died(pid, process.status, process.usage)

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        self._do(self.deadlock.tick(now_s))
        self.stacks.tick(now_s)
        self.bridge.tick()

    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        times = (self.deadlock.deadline_s(), self.stacks.deadline_s(), self.bridge.deadline_s())
        return min((t for t in times if t is not None), default=None)


class Consoles:
    """All consoles. `own` is the job's own."""

    def __init__(self, job: JobMachine, own: Console) -> None:
        self._job, self.own = job, own
        self._deployed: dict[int, Console] = {}  # by owner

    def __iter__(self) -> Iterator[Console]:
        return iter([self.own, *self._deployed.values()])

    def add(self, console: Console) -> None:
        """Add a console."""
        self._deployed[console.owner] = console

    def remove(self, console: Console) -> None:
        """A program is over, and its user has been told: remove its console."""
        del self._deployed[console.owner]

    def of_owner(self, owner: int) -> Console:
        """The console of the program deployed by this cmpirun; NO_PID: of the job's own."""
        return self._deployed.get(owner, self.own)

    def of(self, pid: int) -> Console:
        """The console of the program that a process belongs to."""
        return self.of_owner(self._job.program_of(pid).owner)

    def say(self, text: str, pid: int) -> None:
        """Show a message to the user of a process, or of the program deployed by this cmpirun."""
        known = pid != NO_PID and pid not in self._deployed
        (self.of(pid) if known else self.of_owner(pid)).say(text)
