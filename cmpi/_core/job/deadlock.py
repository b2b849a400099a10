"""Detects that every process of a program waits for another process of it. Pure.

A process reports that it is blocked when it has been blocked for a while, and when it no longer is. When
all are, each is asked whether it is still in the same wait, after it has received everything in flight to
it, and how much it has ever sent and received.

If all say yes, there was a moment, when the question was asked, at which all were blocked. Anything that
could still wake one of them was in flight at that moment. If as much was received as was sent, all of it
has arrived and has woken no process: so nothing ever will.

Source: Mattern, "Algorithms for distributed termination detection" (1987), counting messages. One
round is enough here, because a process shows by the number of its wait that it was never awake meanwhile.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.protocol.process_root_waits import Blocked, StillBlocked
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

CODE = 86  # cmpirun's exit code for it
AGAIN_S = 0.5  # before all are asked again, if something was in flight


@frozen
class Probe:
    """Action: ask these processes whether they are still blocked."""

    pids: list[int]
    round: int


@frozen
class Deadlock:
    """Action: report a deadlock of the program deployed by the cmpirun `owner` (NO_PID: of the job's own
    program)."""

    owner: int = NO_PID


if TYPE_CHECKING:
    Action: TypeAlias = "Probe | Deadlock"


class DeadlockCheck:
    """The state machine for the processes of one program. Not thread-safe; never blocks.

    Args:
        owner: The cmpirun that has deployed the program; NO_PID: it is the job's own.
    """

    def __init__(self, owner: int = NO_PID) -> None:
        self._owner = owner
        self._living: set[int] = set()
        self.blocked: dict[int, tuple[int, list[str]]] = {}  # the epoch of the wait, and the wait in words
        self._round = 0
        self._waiting: set[int] = set()  # pids whose answers have not come
        self._under_way = 0  # sent and not received, by those that have answered
        self._again_s: float | None = None
        self._postponed = False

    def born(self, pid: int) -> None:
        """A process was born; it is not blocked."""
        self._living.add(pid)
        self._stop_asking()

    def died(self, pid: int) -> list[Action]:
        """A process has ended; the others may notice and go on, or be blocked for good."""
        self._living.discard(pid)
        self.blocked.pop(pid, None)
        return self._ask()

    def on_frame(self, pid: int, frame: Blocked | StillBlocked, now_s: float) -> list[Action]:
        """Handle a process's report about itself; an epoch of 0 means that it is not blocked."""
        if isinstance(frame, Blocked):
            if frame.epoch:
                self.blocked[pid] = (frame.epoch, frame.waits)
                return self._ask()
            self.blocked.pop(pid, None)
            self._stop_asking()
        elif frame.number == self._round and pid in self._waiting:
            if frame.epoch != self.blocked[pid][0]:
                self._stop_asking()  # its own report follows
                return []
            self._waiting.discard(pid)
            self._under_way += frame.sent - frame.received
            if not self._waiting:
                if not self._under_way:
                    return [Deadlock(self._owner)]
                self._again_s = now_s + AGAIN_S
        return []

    def postpone(self) -> None:
        """It is no deadlock as long as another program holds the room that this one waits for."""
        self._postponed = True

    def others_died(self) -> list[Action]:
        """A process of another program has ended, and may have held that room."""
        postponed, self._postponed = self._postponed, False
        return self._ask() if postponed else []

    def tick(self, now_s: float) -> list[Action]:
        """Ask again, if it is time."""
        if self._again_s is None or self._again_s > now_s:
            return []
        return self._ask()

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        return self._again_s

    def _stop_asking(self) -> None:
        self._waiting, self._again_s = set(), None

    def _ask(self) -> list[Action]:
        self._stop_asking()
        if not self._living or self.blocked.keys() != self._living:
            return []
        self._round += 1
        self._waiting, self._under_way = set(self._living), 0
        return [Probe(sorted(self._living), self._round)]
