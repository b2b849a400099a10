"""Tracks requests for room and the processes placed for them, between the job machine and its scheduler."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT
from cmpi._core.protocol import process_root
from cmpi._core.scheduling.host_room import Submit
from cmpi._core.scheduling.placement import HostSlots, place_ranks
from cmpi._core.scheduling.scheduler import CancelRequest, Place, Refuse, Release, Scheduler
from cmpi._core.scheduling.shortage import Holder, why_it_waits
from cmpi.identifiers import NO_PID, Capacity, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._core.scheduling.host_room import Host

LATE_S = 1.0  # how long a request waits for room before the user is told


@frozen
class SpawnAnswer:
    """The answer to `asker` for `frame`. Call `settled` once there is a process for a `Place`."""

    asker: int
    frame: process_root.Spawn
    place: Place | Refuse


def refusal(ticket: int = 0) -> Refuse:
    """The answer to a request for processes while the job, or the program, is ending."""
    return Refuse(ticket, True, "no process is started any more: the job was interrupted")


class SpawnQueue:
    """The state machine. Every method is an event, and returns answers if it can bring some."""

    def __init__(self, hosts: list[Host]) -> None:
        self.scheduler = Scheduler(hosts)
        self._waiting: dict[int, tuple[int, process_root.Spawn]] = {}  # by ticket: the asker, its request
        self._patient: dict[int, float] = {}  # requests not reported yet, with the time to do so
        self._tickets: dict[int, int] = {}  # by process
        self._next = 1

    def _ticket(self) -> int:
        self._next += 1
        return self._next - 1

    def capacity(self, party: int = NO_PID) -> Capacity:
        """The total and the free resources of the job, as far as this party may hold them."""
        hosts, share = self.scheduler.hosts.values(), self.scheduler.share(party)
        cpu_units, memory_bytes = sum(h.cpu_units for h in hosts), sum(h.memory_bytes for h in hosts)
        total = Resources.of_units(
            min(cpu_units, share.cpu_units or cpu_units),
            min(memory_bytes, share.memory_bytes or memory_bytes),
        )
        free_cpu_units = share.free_cpu_units(sum(host.free_cpu_units for host in hosts))
        free_memory_bytes = share.free_memory_bytes(sum(host.free_memory_bytes for host in hosts))
        return Capacity(total, Resources.of_units(free_cpu_units, free_memory_bytes))

    def capacity_is(self, request: int, party: int) -> process_root.CapacityIs:
        """The answer to the request of a process of this party for the capacity."""
        it = self.capacity(party)
        return process_root.CapacityIs(
            request=request,
            total_cpu_units=it.total.cpu_units,
            total_memory_bytes=it.total.memory_bytes,
            free_cpu_units=it.free.cpu_units,
            free_memory_bytes=it.free.memory_bytes,
        )

    def occupy(self, pid: int, host: str, wants: Resources, party: int = NO_PID) -> list[SpawnAnswer]:
        """Count a process that runs whether there is room or not; called again if its needs change."""
        old = self._tickets.get(pid)
        ticket = self._tickets[pid] = self._ticket()
        return self._answers(
            self.scheduler.occupy(ticket, host, wants.cpu_units, wants.memory_bytes, old, party)
        )

    def place_ranks(self, n: int, first: str) -> list[str]:
        """The hosts for the ranks of a program, `first` before others; see `placement`."""
        hosts = sorted(self.scheduler.hosts.values(), key=lambda host: host.name != first)
        slots = [HostSlots(host.name, max(1, host.cpu_units // CPU_UNIT)) for host in hosts]
        return place_ranks(n, slots, "slot") if slots else [first] * n

    def submit(
        self, pid: int, frame: process_root.Spawn, now_s: float, near: str = "", party: int = NO_PID
    ) -> list[SpawnAnswer]:
        """A process of a `party` asks for room for another, preferably on the host `near`."""
        ticket = self._ticket()
        self._next += frame.n - 1  # the tickets that follow belong to its group
        self._waiting[ticket] = (pid, frame)
        self._patient[ticket] = now_s + LATE_S
        return self._answers(
            self.scheduler.handle(
                Submit(
                    ticket,
                    pid,
                    frame.cpu_units,
                    frame.memory_bytes,
                    frame.wait,
                    frame.asks_cpus,
                    frame.host,
                    near,
                    frame.pack,
                    frame.n,
                    party,
                )
            )
        )

    def settled(self, place: Place, pid: int) -> None:
        """Note which process was created for a `Place`."""
        self._tickets[pid] = place.ticket

    def withdraw(self, pid: int, request: int | None = None) -> list[SpawnAnswer]:
        """`pid` withdraws this request of its own; None: all of them."""
        answers = []
        for ticket, (asker, frame) in list(self._waiting.items()):
            if asker == pid and request in (None, frame.request):
                answers += self._cancel(ticket)
        return answers

    def refuse(self, pid: int) -> list[SpawnAnswer]:
        """Refuse what `pid` waits for: nothing more is to be started for it."""
        mine = [(ticket, frame) for ticket, (asker, frame) in self._waiting.items() if asker == pid]
        refused = [SpawnAnswer(pid, frame, refusal(ticket)) for ticket, frame in mine]
        return refused + self.withdraw(pid)

    def refuse_all(self) -> list[SpawnAnswer]:
        """Refuse everything: nothing more is to be started at all."""
        refused = [SpawnAnswer(*waiting, refusal(ticket)) for ticket, waiting in self._waiting.items()]
        while self._waiting:
            self._cancel(next(iter(self._waiting)))
        return refused

    def _cancel(self, ticket: int) -> list[SpawnAnswer]:
        self._patient.pop(ticket, None)
        if self._waiting.pop(ticket, None) is None:
            return []  # it got its room when an earlier request was refused
        return self._answers(self.scheduler.handle(CancelRequest(ticket)))

    def lose(self, host: str) -> list[SpawnAnswer]:
        """A host is lost; its processes are still to be released."""
        return self._answers(self.scheduler.lose(host))

    def add(self, host: Host) -> list[SpawnAnswer]:
        """Add a host."""
        return self._answers(self.scheduler.add(host))

    def release(self, pid: int) -> list[SpawnAnswer]:
        """A process has ended."""
        return self._answers(self.scheduler.handle(Release(self._tickets.pop(pid))))

    def _answers(self, places: list[Place | Refuse]) -> list[SpawnAnswer]:
        for place in places:
            self._patient.pop(place.ticket, None)
        return [SpawnAnswer(*self._waiting.pop(place.ticket), place) for place in places]

    # -- notices about requests that wait ----------------------------------------------------

    def deadline_s(self) -> float | None:
        """When `late` may have something to report."""
        return next(iter(self._patient.values()), None)  # in the order in which they came

    def late(self, now_s: float) -> list[int]:
        """The requests that have waited for room for a while; each is returned once."""
        tickets = [ticket for ticket, when_s in self._patient.items() if when_s <= now_s]
        for ticket in tickets:
            del self._patient[ticket]
        return [self._waiting[ticket][0] for ticket in tickets]

    def shortages(self, pid: int, name: Callable[[int], str], party: int = NO_PID) -> list[str]:
        """The requests of this process that wait for room, and why there is none, in words.

        Args:
            pid: The process that asked.
            name: Returns the name of a process.
            party: The party of the process that asked.
        """
        mine = [(ticket, ask) for ticket, (asker, ask) in self._waiting.items() if asker == pid]
        if not mine:
            return []
        placed = [(pid, *self.scheduler.placed(ticket)) for pid, ticket in self._tickets.items()]
        holders = [Holder(name(pid), at.name, it.cpu_units, it.memory_bytes) for pid, it, at in placed]
        hosts, share = self.scheduler.hosts.values(), self.scheduler.share(party)
        return [
            why_it_waits(ask, hosts, holders, sum(t < ticket for t in self._waiting), share)
            for ticket, ask in mine
        ]
