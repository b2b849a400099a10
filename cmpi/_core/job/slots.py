"""Slots, which MPI_Comm_spawn creates, and in which one closure after another runs.

A slot consists of a spawn stub, which MPI's launcher watches, a monitor, and usually a process that the
monitor has forked in advance and that has joined the job and waits for a closure. A closure that is spawned
alone takes a free slot on its host. If it ends without having started MPI, the slot is free again, because
MPI's launcher does not know about the process. A spawn then costs no MPI_Comm_spawn, and usually no fork.

The states of a slot: ordered from MPI, idle (its monitor waits), forking (until its process has joined),
ready, taken (a closure runs), or leaving.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.job.start_numbers import SLOTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

FIRST = SLOTS
SPARE = 2  # slots of a host kept ready, or being made ready, though no closure waits
QUIET_S = 0.01  # without a spawn, before spares are made: they must not delay one
DEMAND_S = 10.0  # idle slots that were not needed for this long are given up
MOST_REFUSALS = 3  # successive failures to make a slot, before a start fails
# Slots of a host that leave MPI's launcher at the same time. With a thousand, Hydra's proxy and mpiexec
# filled both directions of the connection between them, and waited for each other for ever (MPICH 5.0.2).
MOST_LEAVING = 32
MOST_FAILURES = 20  # successive ends of unused processes, before that: something may kill them

ORDERED, IDLE, FORKING, READY, TAKEN, LEAVING = "ordered", "idle", "forking", "ready", "taken", "leaving"
_COMING = (ORDERED, FORKING)


@frozen
class OrderSlot:
    """Action: have MPI and the fork server of this host make a slot."""

    number: int
    host: str


@frozen
class ForkInSlot:
    """Action: have the slot's monitor fork a process."""

    number: int


@frozen
class Bind:
    """Action: give the process in the slot to this start."""

    number: int
    start: int


@frozen
class Retire:
    """Action: end the slot."""

    number: int


@frozen
class FailStart:
    """Action: this start fails, because no slot could be made."""

    start: int
    reason: str


if TYPE_CHECKING:
    Action: TypeAlias = OrderSlot | ForkInSlot | Bind | Retire | FailStart


class _Slot:
    def __init__(self, number: int, state: str) -> None:
        self.number, self.state, self.stale = number, state, False


class _HostSlots:
    """The slots of one host."""

    def __init__(self) -> None:
        self.slots: dict[int, _Slot] = {}
        self.waiting: list[int] = []  # starts, the oldest first
        self.leaving = 0  # slots that were told to leave
        self.leaving_later: list[int] = []  # slots that will be told once fewer leave
        self.starts = 0  # ever
        self.failures = 0  # successive ones
        self.peak = self.last_peak = 0  # most slots taken at a time, in this period and the last
        self.spares_s: float | None = None  # when to make spares
        self.period_s: float | None = None  # when the period is over

    def count(self, *states: str) -> int:
        return sum(slot.state in states and not slot.stale for slot in self.slots.values())

    def first(self, state: str) -> _Slot | None:
        return next((slot for slot in self.slots.values() if slot.state == state), None)

    @property
    def spares(self) -> int:
        """How many slots to keep ready: as many as there were starts, up to `SPARE`."""
        return 0 if self.failures else min(SPARE, self.starts)


class SlotTable:
    """The state machine for all hosts. Methods are events and return actions; not thread-safe, never
    blocks."""

    def __init__(self) -> None:
        self._hosts: dict[str, _HostSlots] = {}
        self._host_of: dict[int, str] = {}
        self._next = FIRST
        self._closed = False

    def host(self, number: int) -> str | None:
        """The host of a slot; None if there is no such slot any more."""
        return self._host_of.get(number)

    # -- starts ----------------------------------------------------------------------------

    def want(self, start: int, host: str, now_s: float) -> list[Action]:
        """A closure is to run on this host."""
        at = self._hosts.setdefault(host, _HostSlots())
        at.starts += 1
        at.waiting.append(start)
        at.spares_s = now_s + QUIET_S
        if at.period_s is None:
            at.period_s = now_s + DEMAND_S
        return self._serve(host, at)

    def withdraw(self, start: int) -> None:
        """A start that waits is not wanted any more."""
        for at in self._hosts.values():
            if start in at.waiting:
                at.waiting.remove(start)

    # -- slots -----------------------------------------------------------------------------

    def monitored(self, number: int) -> list[Action]:
        """The monitor of a slot has connected, and has forked its first process."""
        slot = self._slot(number)
        if slot is None or slot.state != ORDERED or slot.stale or self._closed:
            return self._retire(slot) if slot else [Retire(number)]
        slot.state = FORKING
        return []

    def joined(self, number: int) -> list[Action]:
        """The process in the slot waits for a closure."""
        slot = self._slot(number)
        if slot is None or slot.state != FORKING:
            return []
        if slot.stale or self._closed:
            return self._retire(slot)
        host = self._host_of[number]
        at = self._hosts[host]
        slot.state, at.failures = READY, 0
        return self._serve(host, at)

    def idle(self, number: int, fault: str = "") -> list[Action]:
        """The process in the slot has ended without leftovers; or none could be forked, for the reason in
        `fault`."""
        slot = self._slot(number)
        if slot is None or slot.state == LEAVING:
            return []
        at = self._hosts[self._host_of[number]]
        if slot.state in (FORKING, READY):
            at.failures += 1  # its process was never used
        if slot.stale or self._closed:
            return self._retire(slot)
        slot.state = IDLE
        return self._fail_late(at, fault) + self._serve(self._host_of[number], at)

    def gone(self, number: int, reason: str = "") -> list[Action]:
        """A slot has ended, or could not be made, for this reason."""
        slot = self._slot(number)
        if slot is None:
            return []
        host = self._host_of.pop(number)
        at = self._hosts[host]
        del at.slots[number]
        actions: list[Action] = []
        if slot.state in _COMING:
            at.failures += 1
            actions = self._fail_late(at, reason)
        elif number in at.leaving_later:
            at.leaving_later.remove(number)
        elif slot.state == LEAVING:
            at.leaving -= 1
            if at.leaving_later:
                at.leaving += 1
                actions = [Retire(at.leaving_later.pop(0))]
        return actions + self._serve(host, at)

    @staticmethod
    def _fail_late(at: _HostSlots, reason: str) -> list[Action]:
        """Let a waiting start fail, if there is a reason, after several refusals, when no slot is on its
        way."""
        late = at.failures >= MOST_REFUSALS and at.count(*_COMING) < len(at.waiting)
        return [FailStart(at.waiting.pop(0), reason)] if reason and late else []

    def taken_again(self, number: int) -> list[Action]:
        """The start that got this slot is not wanted any more: its process waits on."""
        slot = self._slot(number)
        if slot is None or slot.state != TAKEN:
            return []
        slot.state = FORKING
        return self.joined(number)

    # -- hosts -----------------------------------------------------------------------------

    def preloaded(self) -> list[Action]:
        """Fork servers have loaded more modules, which existing slots lack."""
        actions = [action for at in self._hosts.values() for action in self._make_stale(at)]
        return [action for host, at in self._hosts.items() for action in self._serve(host, at)] + actions

    def server_ended(self, host: str) -> tuple[list[int], list[Action]]:
        """The host has no fork server any more; return the starts that waited there, and actions."""
        at = self._hosts.get(host)
        if at is None:
            return [], []
        waiting, at.waiting, at.spares_s, at.starts = at.waiting, [], None, 0
        return waiting, self._make_stale(at)

    def host_lost(self, host: str) -> None:
        """A host is lost: forget its slots."""
        at = self._hosts.pop(host, None)
        for number in at.slots if at else ():
            del self._host_of[number]

    # -- time ------------------------------------------------------------------------------

    def tick(self, now_s: float, *, room: bool) -> list[Action]:
        """Do what is due. `room`: there is enough memory for processes that nobody needs yet."""
        actions: list[Action] = []
        for host, at in self._hosts.items():
            if at.spares_s is not None and at.spares_s <= now_s:
                at.spares_s = None
                actions += self._make_spares(host, at) if room else []
            if at.period_s is not None and at.period_s <= now_s:
                actions += self._end_period(at, now_s)
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        times = [time_s for at in self._hosts.values() for time_s in (at.spares_s, at.period_s)]
        return min((time_s for time_s in times if time_s is not None), default=None)

    def close(self) -> list[Action]:
        """The job is over."""
        self._closed = True
        actions: list[Action] = []
        for at in self._hosts.values():
            at.waiting, at.spares_s, at.period_s = [], None, None
            actions += self._retire_all(at, READY, IDLE, FORKING)
        return actions

    # -- decisions -------------------------------------------------------------------------

    def _slot(self, number: int) -> _Slot | None:
        host = self._host_of.get(number)
        return None if host is None else self._hosts[host].slots[number]

    def _serve(self, host: str, at: _HostSlots) -> list[Action]:
        """Give ready slots to the starts that wait, and provide slots for the rest."""
        actions: list[Action] = []
        if at.failures >= MOST_FAILURES:
            at.failures = 0
            if at.waiting:
                start = at.waiting.pop(0)
                actions.append(
                    FailStart(start, "the processes that were to run it ended before they could")
                )
        while at.waiting and (slot := at.first(READY)) is not None:
            slot.state = TAKEN
            actions.append(Bind(slot.number, at.waiting.pop(0)))
        at.peak = max(at.peak, at.count(TAKEN))
        return actions + self._make(host, at, len(at.waiting))

    def _make_spares(self, host: str, at: _HostSlots) -> list[Action]:
        return self._make(host, at, len(at.waiting) + at.spares - at.count(READY))

    def _make(self, host: str, at: _HostSlots, wanted: int) -> list[Action]:
        """Get this many slots ready."""
        actions: list[Action] = []
        for _ in range(wanted - at.count(*_COMING)):
            slot = at.first(IDLE)
            if slot is not None:
                slot.state = FORKING
                actions.append(ForkInSlot(slot.number))
            elif not self._closed:
                number = self._next
                self._next += 1
                self._host_of[number] = host
                at.slots[number] = _Slot(number, ORDERED)
                actions.append(OrderSlot(number, host))
        return actions

    def _end_period(self, at: _HostSlots, now_s: float) -> list[Action]:
        """Give up slots that were not needed for a while."""
        needed = max(at.peak, at.last_peak, 1)
        at.last_peak, at.peak = at.peak, at.count(TAKEN)
        surplus = at.count(READY, IDLE, TAKEN, *_COMING) - max(needed, at.spares)
        actions: list[Action] = []
        for state in (IDLE, READY):
            while surplus > 0 and (slot := at.first(state)) is not None:
                surplus -= 1
                actions += self._retire(slot)
        kept = at.count(READY, IDLE, TAKEN, *_COMING)
        at.period_s = now_s + DEMAND_S if kept > 1 else None
        return actions

    def _make_stale(self, at: _HostSlots) -> list[Action]:
        """Use none of this host's slots again: busy ones end with their closure, the others now."""
        for slot in at.slots.values():
            slot.stale = True
        return self._retire_all(at, READY, IDLE)

    def _retire_all(self, at: _HostSlots, *states: str) -> list[Action]:
        found = [slot for slot in at.slots.values() if slot.state in states]
        return [action for slot in found for action in self._retire(slot)]

    def _retire(self, slot: _Slot) -> list[Action]:
        if slot.state == LEAVING:
            return []
        slot.state = LEAVING
        at = self._hosts[self._host_of[slot.number]]
        if at.leaving >= MOST_LEAVING:
            at.leaving_later.append(slot.number)
            return []
        at.leaving += 1
        return [Retire(slot.number)]
