"""Handles the requests of processes to the root."""

from __future__ import annotations

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Named, Order, Tell, TellPreload
from cmpi._core.job.kill_timers import SIGTERM
from cmpi._core.job.process_record import ended_frame
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.protocol.process_root_connections import Connect, Farewell, Leaving
from cmpi._core.protocol.process_root_links import LinkWith, Register, WhereIs
from cmpi._core.protocol.wire import handler
from cmpi.identifiers import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from cmpi._core.job.endings import Endings
    from cmpi._core.job.job_actions import Action
    from cmpi._core.job.job_state import JobState
    from cmpi._core.job.process_record import Process
    from cmpi._core.job.spawning import Spawning

    Handler: TypeAlias = "Callable[[Process, Any, float], list[Action]]"


class ProcessRequests:
    """Part of the job machine."""

    def __init__(self, state: JobState, spawning: Spawning, endings: Endings) -> None:
        self._state, self._spawning, self._endings = state, spawning, endings
        self._handlers: dict[type, Handler] = {
            process_root.JoinJob: self._join,
            process_root.Spawn: lambda process, frame, now_s: spawning.submit(process.pid, frame, now_s),
            process_root.Cancel: self._cancel,
            process_root.Watch: self._watch,
            process_root.Kill: self._kill,
            process_root.AskCapacity: self._capacity,
            process_root.Preload: lambda process, frame, now_s: [TellPreload(frame)],
            process_root.Raised: self._raised,
            process_root.LookedAt: self._looked_at,
            process_root.AskFailures: self._failures,
            Leaving: self._leave,
            LinkWith: self._link,
            **dict.fromkeys(state.connections.heard, self._connection),
            **dict.fromkeys(state.erlang_links.heard, self._link_or_name),
        }

    @property
    def heard(self) -> set[type]:
        """The frames that a process may send."""
        return set(self._handlers)

    def on_frame(self, pid: int, frame: object, now_s: float) -> list[Action]:
        """Handle a process's frame. Frames of a process that counts as ended are ignored: its host is lost,
        but could still be reached when they were sent. Raises: ProtocolError."""
        handle = handler(self._handlers, frame)
        process = self._state.processes.get(pid)
        return [] if process is None or process.status is not None else handle(process, frame, now_s)

    # -- its own life ----------------------------------------------------------------------

    def _join(self, process: Process, frame: process_root.JoinJob, now_s: float) -> list[Action]:
        if process.joined:
            return []  # its monitor takes in one process, which joins once
        state = self._state
        state.process_table.joined(process, now_s)
        found = Interpreter(frame.python, frame.flags, frame.settings)
        if found != process.interpreter:  # otherwise the parent's object will do, which saves memory
            process.interpreter = found
        process.memory = frame.memory
        actions: list[Action] = []
        if frame.asks:  # a rank has declared its needs; more than there is cannot be given
            process.resources = Resources.of_units(frame.cpu_units, frame.memory_bytes)
            process.asks_memory = frame.asks_memory
            occupied = state.requests.occupy(process.pid, process.host, process.resources, process.guest)
            actions += [process.limit(state.enforce), *self._spawning.answered(occupied)]
        world = state.starts[process.start]
        welcome = process.welcome(
            world if len(world) > 1 else state.starts[state.program_of(process).start],
            state.bells,
            state.shared_memory_bytes,
            state.memory(process.pid, process.parent),
            state.erlang_links.linked(process.pid),
            state.deadline_s,
        )
        actions.append(Tell(process.pid, welcome))
        actions += [
            Tell(
                pid,
                process_root.Alive(process.pid, state.memory(pid, process.pid), process.promised_bytes),
            )
            for pid in sorted(process.watchers)
            if state.alive(pid)
        ]
        actions += state.worlds.begin(process, state.world(process.start))
        number = process.start if len(world) > 1 else -1 - process.pid
        actions += state.connections.join(process.pid, number, process.rank, process.host)
        return actions + list(state.fork_gate.need(process.host, process.interpreter))

    def _leave(self, process: Process, frame: Leaving, now_s: float) -> list[Action]:
        parted = self._state.connections.retire(process.pid)
        return [Tell(process.pid, Farewell()), *parted]

    def _raised(self, process: Process, frame: process_root.Raised, now_s: float) -> list[Action]:
        process.summary, process.trace = frame.summary, frame.trace
        if len(self._state.starts[process.start]) > 1 and not self._state.ending(process):
            # Its MPI_Finalize may wait for ranks that in turn wait for it.
            self._state.kill_timers.later(process.pid, now_s)
        return []

    # -- other processes -------------------------------------------------------------------

    def _cancel(self, process: Process, frame: process_root.Cancel, now_s: float) -> list[Action]:
        self._state.erlang_links.cancel(process.pid, frame.request)
        return self._spawning.answered(self._state.requests.withdraw(process.pid, frame.request))

    def _watch(self, process: Process, frame: process_root.Watch, now_s: float) -> list[Action]:
        other = self._state.processes.get(frame.pid)
        if other is None:
            status = self._state.process_table.past.status(frame.pid)
            return [Tell(process.pid, ended_frame(frame.pid, status))]
        if other.status is None:
            self._meet(process, other)
            other.watchers.add(process.pid)
            memory = self._state.memory(process.pid, other.pid)
            alive = process_root.Alive(other.pid, memory, other.promised_bytes)
            return [Tell(process.pid, alive)]
        return [Tell(process.pid, ended_frame(other.pid, other.status))]

    def _kill(self, process: Process, frame: process_root.Kill, now_s: float) -> list[Action]:
        if not self._state.alive(frame.pid):
            return []
        return self._endings.end(self._state.processes[frame.pid], frame.signal, now_s, "")

    def _looked_at(self, process: Process, frame: process_root.LookedAt, now_s: float) -> list[Action]:
        if frame.pid in self._state.processes:
            handled = frame.handled and not process.because  # else it ends, perhaps by that
            self._state.processes[frame.pid].looked_at(process.pid, handled=handled)
        return []

    def _failures(self, process: Process, frame: process_root.AskFailures, now_s: float) -> list[Action]:
        failed = [
            (it, it.status)
            for it in self._state.program_of(process).failures.of(process.guest)
            if it.status is not None
        ]
        answer = process_root.FailuresAre(
            request=frame.request,
            pids=[it.pid for it, _ in failed],
            names=[it.name for it, _ in failed],
            codes=[status.code for _, status in failed],
            signals=[status.signal for _, status in failed],
            verdicts=[status.verdict for _, status in failed],
        )
        return [Tell(process.pid, answer)]

    def _capacity(self, process: Process, frame: process_root.AskCapacity, now_s: float) -> list[Action]:
        return [Tell(process.pid, self._state.requests.capacity_is(frame.request, process.guest))]

    def _connection(self, process: Process, frame: Any, now_s: float) -> list[Action]:
        if isinstance(frame, Connect):
            if not self._state.alive(frame.peer):
                return []  # the asker watches it, and will get the notice
            self._meet(process, self._state.processes[frame.peer])
        return list(self._state.connections.on_frame(process.pid, frame, now_s))

    def _meet(self, one: Process, other: Process) -> None:
        """These two may wait for each other."""
        program, another = self._state.program_of(one), self._state.program_of(other)
        if program is not another:
            program.alone = another.alone = False

    # -- links and names -------------------------------------------------------------------

    def _link(self, process: Process, frame: LinkWith, now_s: float) -> list[Action]:
        links = self._state.erlang_links
        if self._state.alive(frame.pid):
            told = (links.tie if frame.on else links.untie)(process.pid, frame.pid)
            # A process that has not joined yet is told when it does.
            return [tell for tell in told if self._state.processes[tell.pid].joined]
        if not frame.on:
            return []
        if links.traps(process.pid):
            return []  # it watches, and will get the notice
        # Only this process fails, with that as the reason.
        process.fault = f"linked itself with {frame.pid:07x}, which had ended before"
        self._state.kill_timers.later(process.pid, now_s)
        return [Order(process.pid, monitor_root.Signal(SIGTERM))]

    def _link_or_name(self, process: Process, frame: Any, now_s: float) -> list[Action]:
        if isinstance(
            frame, (Register, WhereIs)
        ):  # any process of the job may have, or look for, that name
            self._state.program_of(process).alone = False
        heard = self._state.erlang_links.on_frame(process.pid, frame, self._state.alive)
        for action in heard:
            if isinstance(action, Named):
                self._state.processes[action.pid].registered(action.name)
        return list(heard)
