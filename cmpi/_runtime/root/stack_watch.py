"""The stacks of processes: shows them on Ctrl-\\, and inspects them if all may be waiting inside MPI."""

from __future__ import annotations

from cmpi._core.job.job_actions import Order, Tell
from cmpi._core.job.mpi_waits import MpiWaits
from cmpi._core.protocol.monitor_root import AskRankStacks
from cmpi._core.protocol.process_root_waits import AskStacks
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._core.job.process_record import Process
    from cmpi._core.protocol.monitor_root import RankStacks

NO_PYTHON = "no stacks: it is not a Python program that cmpirun has started directly"
AT_END = "its program has ended; it waits in an exit handler, such as MPI_Finalize"


class StackWatch:
    """The stacks of one program's processes.

    Args:
        job: The job.
        owner: The cmpirun that has deployed the program; NO_PID: it is the job's own.
        blocked: The processes that wait in cmpi, by pid: the epoch of the wait, and the waits in words.
        do: Carries out actions.
        say: Shows the program's user a message, whose first line begins with "cmpirun: ".
        after_s: How long, in seconds, all must have waited inside MPI before that is reported; 0: never.
    """

    def __init__(
        self,
        job: JobMachine,
        owner: int,
        blocked: dict[int, tuple[int, list[str]]],
        do: Callable[[list[Any]], None],
        say: Callable[[str], None],
        after_s: float,
    ) -> None:
        self._job, self._owner = job, owner
        self._blocked, self._do, self._say = blocked, do, say
        self._waits = MpiWaits(after_s)

    def show(self) -> None:
        """Show what each process is doing, because the user has asked for it."""
        living = self._living()
        self._do([Tell(p.pid, AskStacks()) for p in living if p.joined])
        ranks = [p for p in living if not p.joined and p.is_rank and p.monitored]
        self._do([Order(p.pid, AskRankStacks(watching=False)) for p in ranks])
        silent = [p.title for p in living if not p.joined and p not in ranks]
        if silent:
            self._say(f"no stacks yet of processes that are still starting: {', '.join(silent)}")

    def moved(self) -> None:
        """A process has written something, was born or has ended."""
        self._waits.moved()

    def heard(self, pid: int, found: RankStacks) -> None:
        """The monitor of a rank has answered."""
        if not found.watching:
            title = self._job.processes[pid].title
            if found.text:
                self._say(f"stacks of {title}:\n{found.text.rstrip()}")
            else:
                self._say(f"{title}: {AT_END if found.ending else NO_PYTHON}")
            return
        ranks = self._waits.look(pid, found, clock.now_s())
        if ranks:
            in_order = sorted(ranks, key=lambda it: self._job.processes[it].rank)
            lines = [f"    {self._job.processes[it].title} {ranks[it]}" for it in in_order]
            for other, (_, waits) in self._blocked.items():
                lines += [f"    {self._job.processes[other].title} waits in {wait}" for wait in waits]
            head = "all processes are waiting, ranks inside MPI, and none writes output; the job goes on"
            self._say("\n".join([head, *lines]))

    def tick(self, now_s: float) -> None:
        """Look at the ranks, if it is time."""
        running = [p for p in self._living() if p.pid not in self._blocked]
        if not all(p.is_rank and p.monitored for p in running):
            self._waits.moved()  # a process is being started, or was spawned and may send something
            return
        ask = self._waits.tick([p.pid for p in running], now_s)
        self._do([Order(pid, AskRankStacks(watching=True)) for pid in ask])

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        return self._waits.deadline_s()

    def _living(self) -> list[Process]:
        return list(self._job.programs[self._owner].members.values())
