"""Turns requests for room into processes."""

from __future__ import annotations

from cmpi._core.job.job_actions import Born, Tell
from cmpi._core.job.start_numbers import SPAWNED
from cmpi._core.protocol import process_root
from cmpi._core.scheduling.scheduler import Refuse
from cmpi._core.scheduling.spawn_queue import SpawnAnswer, refusal
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.job_actions import Action
    from cmpi._core.job.job_state import JobState


class Spawning:
    """Part of the job machine."""

    def __init__(self, state: JobState) -> None:
        self._state = state

    def submit(self, pid: int, frame: process_root.Spawn, now_s: float) -> list[Action]:
        """Handle a process's request to spawn others."""
        state = self._state
        if not state.alive(pid) or state.outlived_its_guest(pid):
            return []
        if state.ending(state.processes[pid]):
            return self.answered([SpawnAnswer(pid, frame, refusal())])
        near = state.processes[frame.near].host if frame.near in state.processes else ""
        return self.answered(state.requests.submit(pid, frame, now_s, near, self._owner(pid, frame)))

    def answered(self, answers: list[SpawnAnswer]) -> list[Action]:
        """Start the processes for which there is room, and refuse those for which there never will be."""
        actions: list[Action] = []
        for answer in answers:
            if isinstance(answer.place, Refuse):
                place = answer.place
                refused = process_root.Refused(answer.frame.request, place.never, place.reason)
                actions.append(Tell(answer.asker, refused))
            else:
                actions += self._start(answer)
        return actions

    def _start(self, answer: SpawnAnswer) -> list[Action]:
        state, frame, place = self._state, answer.frame, answer.place
        assert not isinstance(place, Refuse)
        start, parent = state.process_table.new_start(SPAWNED), state.processes[answer.asker]
        actions: list[Action] = []
        for rank, each in enumerate((place, *place.more)):
            child = state.add(parent.pid, start, rank, frame.label, self._owner(parent.pid, frame))
            child.placed(frame, each, state.fork_gate.interpreter(each.host, parent, frame))
            state.requests.settled(each, child.pid)
            actions.append(Born(child.pid))
            if frame.tie:
                state.erlang_links.tie(parent.pid, child.pid)
        actions.append(Tell(parent.pid, process_root.Spawned(frame.request, state.starts[start])))
        return [*actions, *state.fork_gate.launch(start, state.world(start))]

    def _owner(self, pid: int, frame: process_root.Spawn) -> int:
        """The guest or deploying cmpirun that what `pid` spawns belongs to."""
        return NO_PID if frame.detached else self._state.processes[pid].guest

    def shortages(self, pid: int) -> list[str]:
        """The requests of this process that wait for room, and why there is none, in words."""
        processes = self._state.processes
        party = processes[pid].guest
        return self._state.requests.shortages(pid, lambda pid: processes[pid].title, party)
