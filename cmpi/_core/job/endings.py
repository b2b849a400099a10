"""Decides how processes end, which others end with them, and when the job is over."""

from __future__ import annotations

from cmpi._core.job.interruption import Interruption
from cmpi._core.job.job_actions import Died, FinishJob, FinishProgram, Order, Tell
from cmpi._core.job.kill_timers import KILL_SOON, SIGKILL, SIGTERM
from cmpi._core.job.process_record import ended_frame
from cmpi._core.protocol import monitor_root
from cmpi.identifiers import ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.job_actions import Action
    from cmpi._core.job.job_state import JobState
    from cmpi._core.job.process_record import Process
    from cmpi._core.job.program import Program
    from cmpi._core.job.spawning import Spawning


class Endings:
    """Part of the job machine."""

    def __init__(self, state: JobState, spawning: Spawning) -> None:
        self._state, self._spawning = state, spawning

    # -- one process -----------------------------------------------------------------------

    def exited(self, pid: int, status: ExitStatus, now_s: float, by_launcher: bool = False) -> list[Action]:
        """A process has ended; see `JobMachine.exited`."""
        state = self._state
        process = state.processes[pid]
        if process.status is not None:
            return []
        program = state.program_of(process)
        state.process_table.ended(pid)
        del program.members[pid]
        # MPI's launcher may end the rest of a world before the one that the program killed is reported.
        doomed = by_launcher and any(other.doomed for other in state.world(process.start))
        status = process.end(status, with_others=doomed)
        actions: list[Action] = [Died(pid)]
        if not status.ok and not process.is_guest:
            program.failures.ended(process, by_launcher)
        ended = ended_frame(pid, status)
        actions += [Tell(watcher, ended) for watcher in sorted(process.watchers) if state.alive(watcher)]
        process.watchers = set()  # a new set, smaller than one that has had members
        state.connections.leave(pid, now_s)
        actions += self._spawning.answered(state.requests.withdraw(pid))
        actions += self._spawning.answered(state.requests.release(pid))
        if status.code or status.signal:
            actions += self._fell_together(process, now_s, by_launcher)
        actions += self._end_linked(process, now_s)
        actions += self._maybe_finish(program)
        if not process.monitored or process.is_guest:
            actions += state.over(process)  # otherwise when its monitor has left
        return actions

    def guest_ended(self, pid: int, status: ExitStatus, now_s: float) -> list[Action]:
        """A guest has ended or left the job: end what it and its children have spawned."""
        actions = self.exited(pid, status, now_s)
        if self._state.own.interruption is not None:
            return actions  # all have been told to end already
        because = f"its guest {pid:07x} has left the job"
        if pid in self._state.programs:
            because = "the cmpirun that deployed it has ended"
        for process in self._state.living():
            if process.guest == pid:
                actions += self._spawning.answered(self._state.requests.withdraw(process.pid))
                actions += self.end(process, SIGTERM, now_s, because)
        return actions

    def lost(self, pid: int, now_s: float) -> list[Action]:
        """The root has lost contact with a process for good: the process counts as killed."""
        return self.exited(pid, ExitStatus(137, SIGKILL), now_s)

    def not_started(self, pids: list[int], reason: str, now_s: float) -> list[Action]:
        """These processes could not be started."""
        actions: list[Action] = []
        for pid in pids:
            process = self._state.processes[pid]
            if process.doomed and not process.monitored:  # nobody wants it started any more
                actions += self.exited(pid, ExitStatus(128 + process.doomed, process.doomed), now_s)
                continue
            process.fault = f"could not be started: {reason}"
            if process.monitored:
                actions.append(Order(pid, monitor_root.Signal(SIGKILL)))
            actions += self.exited(pid, ExitStatus(126), now_s)
        return actions

    def end(
        self, process: Process, signal: int, now_s: float, because: str, end: Interruption | None = None
    ) -> list[Action]:
        """Make a process end.

        Args:
            process: The process.
            signal: The signal to send.
            now_s: The time.
            because: The reason; "" if the program itself asked for it.
            end: The requested end of its program or the job, if that is the reason.
        """
        then, linger_s = (KILL_SOON, 0.0) if end is None else (end.later, end.grace_s)
        process.doomed, process.because = signal, because
        if because:
            self._state.kill_timers.later(process.pid, now_s, then)
        by_slurm = end is not None and end.by_slurm
        order = Order(process.pid, monitor_root.Signal(signal, linger_s, by_slurm))
        return [order] if process.monitored else []

    def _fell_together(self, process: Process, now_s: float, by_launcher: bool) -> list[Action]:
        """End the other ranks of a world when one of them has ended, as MPI's users expect."""
        actions: list[Action] = []
        for other in self._state.world(process.start):
            if other.status is not None or other.doomed:
                continue
            if by_launcher:  # the launcher ends the others too: first see which one failed by itself
                self._state.kill_timers.later(other.pid, now_s)
            else:
                actions += self.end(other, SIGTERM, now_s, f"ended with rank {process.rank} of its world")
        return actions

    def _end_linked(self, process: Process, now_s: float) -> list[Action]:
        """End the processes that are linked with a process that ended abnormally."""
        linked = self._state.erlang_links.ended(process.pid)
        status = process.status
        assert status is not None
        actions: list[Action] = []
        if status.code or status.signal:
            because = f"linked with {process.pid:07x}, which ended: {status}"
            for pid in linked:
                process.looked_at(pid, handled=False)
                if self._state.alive(pid) and not self._state.processes[pid].doomed:
                    actions += self.end(self._state.processes[pid], SIGTERM, now_s, because)
        return actions

    # -- a program, or all of the job ------------------------------------------------------

    def interrupt(
        self, program: Program, signal: int, now_s: float, because: str, code: int | None, *, by_slurm: bool
    ) -> list[Action]:
        """The user wants an end, or going on is pointless; see `JobMachine.interrupt`."""
        if program.interruption is not None or program.finished:
            return []
        code = 128 + signal if code is None else code
        program.interruption = end = Interruption(signal, code, program.grace_s, now_s, by_slurm=by_slurm)
        actions: list[Action] = []
        if not program.deployed:  # the whole job ends
            actions += self._spawning.answered(self._state.requests.refuse_all())
        for process in self.concerned(program):
            if program.deployed:
                actions += self._spawning.answered(self._state.requests.refuse(process.pid))
            actions += self.end(process, end.first, now_s, because, end)
        return actions + self._maybe_finish(program)

    def concerned(self, program: Program) -> list[Process]:
        """The processes that end with a program: its own; for the job's own program, all processes."""
        return list(program.members.values()) if program.deployed else self._state.living()

    def give_up(self, program: Program, now_s: float) -> list[Action]:
        """The program was interrupted, and its remaining processes have had their time."""
        return [action for it in self.concerned(program) for action in self.lost(it.pid, now_s)]

    def _maybe_finish(self, program: Program) -> list[Action]:
        """Report that a program is over, or the job."""
        state, own = self._state, self._state.own
        actions: list[Action] = []
        if program.deployed and not program.members and not program.finished:
            program.finished = True
            interrupted = own.interruption if program.interruption is None else None
            code = program.code if interrupted is None else interrupted.code
            actions.append(FinishProgram(program.owner, code))
        stands = state.standing and own.interruption is None
        if not (own.finished or state.process_table.living_count or stands):
            own.finished = True
            actions.append(FinishJob(own.code))
        return actions
