"""Links between processes, trapped exits and registered names, as in Erlang.

Source: Erlang/OTP, "Erlang Reference Manual: Processes" (links, exit signals, registered names).
"""

from __future__ import annotations

from cmpi._core.job.job_actions import Named, Tell
from cmpi._core.protocol.process_root_links import LinkedBy, NameIs, Register, Trap, Unregister, WhereIs
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NO_TIE, LINK, SUPERVISE = 0, 1, 2  # how a process is tied to the one that spawns it


class ErlangLinks:
    """The state machine. Methods are events; not thread-safe, never blocks."""

    heard = (Trap, Register, Unregister, WhereIs)

    def __init__(self) -> None:
        self._linked: dict[int, set[int]] = {}
        self._trapping: set[int] = set()
        self._names: dict[str, int] = {}
        # By name: who waits for it, with which request.
        self._waiting: dict[str, list[tuple[int, int]]] = {}

    # -- links -----------------------------------------------------------------------------

    def tie(self, one: int, other: int) -> list[Tell]:
        """Link `one` with `other`, which is alive; repeating it does nothing."""
        if one == other or other in self._linked.get(one, ()):
            return []
        self._linked.setdefault(one, set()).add(other)
        self._linked.setdefault(other, set()).add(one)
        return [Tell(other, LinkedBy(one, True))]

    def untie(self, one: int, other: int) -> list[Tell]:
        """Remove the link between the two."""
        if other not in self._linked.get(one, ()):
            return []
        self._linked[one].discard(other)
        self._linked[other].discard(one)
        return [Tell(other, LinkedBy(one, False))]

    def linked(self, pid: int) -> list[int]:
        """The processes linked with it."""
        return sorted(self._linked.get(pid, ()))

    def traps(self, pid: int) -> bool:
        """Whether the process gets notices of the ends of linked processes rather than end with them."""
        return pid in self._trapping

    def ended(self, pid: int) -> list[int]:
        """A process has ended; return those that must end with it if its end was abnormal."""
        others = sorted(self._linked.pop(pid, ()))
        for other in others:
            self._linked[other].discard(pid)
        self._trapping.discard(pid)
        for name in [name for name, owner in self._names.items() if owner == pid]:
            del self._names[name]
        for name, waiting in list(self._waiting.items()):
            left = [each for each in waiting if each[0] != pid]
            if left:
                self._waiting[name] = left
            else:
                del self._waiting[name]
        return [other for other in others if other not in self._trapping]

    def on_frame(self, pid: int, frame: object, alive: Callable[[int], bool]) -> Sequence[Tell | Named]:
        """Handle a process's frame that concerns only this machine; `heard` lists the types."""
        if isinstance(frame, Register):
            return self._register(pid, frame, alive(frame.pid))
        if isinstance(frame, WhereIs):
            return self._where_is(pid, frame)
        if isinstance(frame, Trap):
            (self._trapping.add if frame.on else self._trapping.discard)(pid)
        else:
            assert isinstance(frame, Unregister)
            self._names.pop(frame.name, None)
        return []

    # -- names -----------------------------------------------------------------------------

    def _register(self, asker: int, frame: Register, alive: bool) -> list[Tell | Named]:
        """Register a name; the answer tells which process has it then, which may be an earlier one."""
        if not alive:
            return [Tell(asker, NameIs(frame.request, NO_PID))]
        owner = self._names.setdefault(frame.name, frame.pid)
        answers: list[Tell | Named] = [Tell(asker, NameIs(frame.request, owner))]
        if owner == frame.pid:
            answers.append(Named(owner, frame.name))
            for waiter, request in self._waiting.pop(frame.name, ()):
                answers.append(Tell(waiter, NameIs(request, owner)))
        return answers

    def _where_is(self, asker: int, frame: WhereIs) -> list[Tell]:
        owner = self._names.get(frame.name)
        if owner is None and frame.wait:
            self._waiting.setdefault(frame.name, []).append((asker, frame.request))
            return []
        return [Tell(asker, NameIs(frame.request, NO_PID if owner is None else owner))]

    def cancel(self, asker: int, request: int) -> None:
        """The asker no longer wants the answer to this request."""
        for name, waiting in self._waiting.items():
            self._waiting[name] = [each for each in waiting if each != (asker, request)]
