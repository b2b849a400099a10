"""Whether every process of the job waits for another one of it. Pure.

A process says that it is blocked when it has been so for a while, and when it is no more. When all
are, each is asked, twice, whether it still is, in the very same wait, having looked for everything
that was under way to it, and how much it has ever sent and received. Nothing moved in between, and
nothing is under way if as much was received as was sent: then nothing ever will move.

Source: Mattern, "Algorithms for distributed termination detection" (1987), the four-counter method.
"""

from __future__ import annotations

from cmpi._core import wait_frames
from cmpi._core.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

ROUND_S = 0.25  # between the two rounds of questions
CODE = 86  # cmpirun's exit code for it


@record
class Probe:
    """Action: ask these processes whether they are still blocked."""

    pids: list[int]
    round: int


@record
class Deadlock:
    """Action: it is one."""


if TYPE_CHECKING:
    Action: TypeAlias = "Probe | Deadlock"


class DeadlockCheck:
    """The machine. Not thread-safe; never blocks."""

    def __init__(self) -> None:
        self._living: set[int] = set()
        self.blocked: dict[int, tuple[int, list[str]]] = {}  # the epoch of the wait, and it in words
        self._round = 0
        self._replies: dict[int, tuple[int, int, int]] = {}  # epoch, sent, received
        self._before: dict[int, tuple[int, int, int]] | None = None  # those of the first round
        self._next_s: float | None = None  # when to ask for the second time
        self._asking = False

    def born(self, pid: int) -> None:
        """There is a process; it is not blocked."""
        self._living.add(pid)
        self._start_over()

    def died(self, pid: int, now_s: float) -> list[Action]:
        """It has ended; others may see that and go on, or be blocked for good."""
        self._living.discard(pid)
        self.blocked.pop(pid, None)
        self._start_over()
        return self._ask(now_s)

    def is_blocked(self, pid: int, epoch: int, waits: list[str], now_s: float) -> list[Action]:
        """A process says so."""
        self.blocked[pid] = (epoch, waits)
        self._start_over()
        return self._ask(now_s)

    def goes_on(self, pid: int) -> None:
        """A process is blocked no more."""
        self.blocked.pop(pid, None)
        self._start_over()

    def hear(
        self, pid: int, frame: wait_frames.Blocked | wait_frames.StillBlocked, now_s: float
    ) -> list[Action]:
        """What a process says of itself."""
        if isinstance(frame, wait_frames.StillBlocked):
            return self.reply(pid, frame.number, frame.epoch, frame.sent, frame.received, now_s)
        if frame.epoch:
            return self.is_blocked(pid, frame.epoch, frame.waits, now_s)
        self.goes_on(pid)
        return []

    def reply(
        self, pid: int, number: int, epoch: int, sent: int, received: int, now_s: float
    ) -> list[Action]:
        """The answer to a probe; an epoch of 0: it goes on."""
        if number != self._round or not self._asking:
            return []
        if pid not in self.blocked or epoch != self.blocked[pid][0]:
            self.goes_on(pid)
            return []
        self._replies[pid] = (epoch, sent, received)
        if self._replies.keys() != self._living:
            return []
        self._asking = False
        quiet = sum(each[1] for each in self._replies.values()) == sum(
            each[2] for each in self._replies.values()
        )
        if self._before == self._replies and quiet:
            return [Deadlock()]
        self._before, self._next_s = self._replies, now_s + ROUND_S
        return []

    def tick(self, now_s: float) -> list[Action]:
        """Ask again, if it is time."""
        if self._next_s is None or self._next_s > now_s:
            return []
        self._next_s = None
        return self._ask(now_s)

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        return self._next_s

    def _start_over(self) -> None:
        self._asking, self._before, self._next_s = False, None, None

    def _ask(self, now_s: float) -> list[Action]:
        if not self._living or self.blocked.keys() != self._living:
            return []
        self._round += 1
        self._replies, self._asking = {}, True
        return [Probe(sorted(self._living), self._round)]
