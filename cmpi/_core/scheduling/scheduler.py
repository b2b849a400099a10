"""The scheduler decides which requests start where, and when.

Each requester has a queue, and the queues take turns. The request whose turn it is keeps the turn until it
fits (only for that host, if it names one). So smaller requests cannot overtake it for ever, and a process
that asks for a thousand others delays its neighbour by one. First the parties take turns (deployed
programs, guests, the job's own program), then the queues of each; so a program with many requesting
processes also delays another program by only one. A party may be bound to a share of the job; while its
request does not fit into that share, the others pass it.

A request for no CPU never waits for a core. It is placed as if it needed one, so that such processes also
spread over the hosts, but it reserves none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT
from cmpi._core.scheduling import shortage
from cmpi._core.scheduling.host_room import Host, Submit
from cmpi._core.scheduling.shares import UNBOUND, Share
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import TypeAlias


@frozen
class CancelRequest:
    """Event: the request is withdrawn, whether it waits or was placed."""

    ticket: int


@frozen
class Release:
    """Event: the process placed for this ticket has ended."""

    ticket: int


@frozen
class Place:
    """Action: there is room for this ticket on that host, and it is now taken."""

    ticket: int
    host: str
    cores: tuple[int, ...] = ()  # cores that it is bound to
    more: tuple[Place, ...] = ()  # the rest of its group


@frozen
class Refuse:
    """Action: there is no room for this ticket now, or (`never`) at any time."""

    ticket: int
    never: bool
    reason: str


if TYPE_CHECKING:
    Event: TypeAlias = "Submit | CancelRequest | Release"
    Action: TypeAlias = "Place | Refuse"


class Scheduler:
    """The state machine. Not thread-safe; all calls return at once."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts: dict[str, Host] = {}
        # Free CPUs, processes without a core, turn and name of each host, in order; and what is left of
        # the CPUs if each of these used one.
        self._by_room: list[tuple[int, int, int, str]] = []
        self._by_quiet: list[tuple[int, int, int, str]] = []
        self._turns: dict[str, int] = {}  # of hosts with equal room, the one named first comes first
        for host in hosts:
            self._admit(host)
        # By party and owner, each in the order of its turns.
        self._lines: dict[int, dict[int, deque[Submit]]] = {}
        self._placed: dict[int, tuple[Submit, Host]] = {}
        self._shares: dict[int, Share] = {}  # by party
        self._cores: dict[int, tuple[int, ...]] = {}  # by ticket

    def handle(self, event: Event) -> list[Action]:
        """Handle an event; return the actions to take, in order."""
        if isinstance(event, Submit):
            return self._submit(event)
        if event.ticket in self._placed:
            self._take_back(event.ticket)
        else:
            self._forget(event.ticket)
        return self._advance()

    def bind(self, party: int, share: Share) -> None:
        """From now on, the processes of this new party may together hold only this share."""
        self._shares[party] = share

    def unbind(self, party: int) -> None:
        """The party is over."""
        self._shares.pop(party, None)

    def share(self, party: int) -> Share:
        """What this party may hold, and what it holds if it is bound."""
        return self._shares.get(party, UNBOUND)

    def occupy(
        self,
        ticket: int,
        host: str,
        cpu_units: int,
        memory_bytes: int,
        instead_of: int | None = None,
        party: int = NO_PID,
    ) -> list[Action]:
        """Count a process that must run whether there is room or not (a rank asked for with -n).

        It takes no more than what is free, so that the command line can never make the balance negative.
        `instead_of` is the ticket that it had before.
        """
        place = self.hosts.get(host)
        if place is None:  # lost, or the root's own host, on which nothing else may run
            place = Host(host, 0, 0)
        if instead_of is not None:
            old, at = self._placed.pop(instead_of)
            self._take(at, old, -1)
        share = self.share(party)
        request = Submit(
            ticket,
            owner=-1,
            cpu_units=share.free_cpu_units(min(cpu_units, place.free_cpu_units)),
            memory_bytes=share.free_memory_bytes(min(memory_bytes, place.free_memory_bytes)),
            wait=False,
            party=party,
        )
        self._take(place, request)
        self._placed[ticket] = (request, place)
        return self._advance()

    def lose(self, host: str) -> list[Action]:
        """A host is lost; what was placed there is still to be released."""
        if host in self.hosts:
            lost = self.hosts.pop(host)
            self._by_room.remove(self._room_of(lost))
            self._by_quiet.remove(self._quiet_of(lost))
        waiting = [request for line in self._all_lines() for request in line]
        refused = [
            Refuse(request.ticket, True, self._too_large(request))
            for request in waiting
            if not self._possible(request)
        ]
        for refusal in refused:
            self._forget(refusal.ticket)
        return [*refused, *self._advance()]

    def add(self, host: Host) -> list[Action]:
        """Add a host."""
        self._admit(host)
        return self._advance()

    def _admit(self, host: Host) -> None:
        self.hosts[host.name] = host
        self._turns.setdefault(host.name, -len(self._turns))
        insort(self._by_room, self._room_of(host))
        insort(self._by_quiet, self._quiet_of(host))

    def _room_of(self, host: Host) -> tuple[int, int, int, str]:
        return host.free_cpu_units, -host.coreless, self._turns[host.name], host.name

    def _quiet_of(self, host: Host) -> tuple[int, int, int, str]:
        return host.quiet_cpu_units, -host.coreless, self._turns[host.name], host.name

    def _take(self, host: Host, request: Submit, sign: int = 1) -> None:
        """`Host.take`, keeping the hosts in order, and the party's share."""
        if request.party in self._shares:
            self._shares[request.party].take(request, sign)
        if self.hosts.get(host.name) is not host:
            host.take(request, sign)  # lost in the meantime
            return
        del self._by_room[bisect_left(self._by_room, self._room_of(host))]
        del self._by_quiet[bisect_left(self._by_quiet, self._quiet_of(host))]
        host.take(request, sign)
        insort(self._by_room, self._room_of(host))
        insort(self._by_quiet, self._quiet_of(host))

    def placed(self, ticket: int) -> tuple[Submit, Host]:
        """The request that was placed for this ticket, and its host."""
        return self._placed[ticket]

    @property
    def waiting_parties(self) -> set[int]:
        """The parties with a request that waits for room, and not for their own share."""
        return {
            party
            for party, lines in self._lines.items()
            if any(self.share(party).fits(line[0]) for line in lines.values())
        }

    @property
    def holding_parties(self) -> set[int]:
        """The parties with a process that holds resources."""
        return {it.party for it, _ in self._placed.values() if it.cpu_units or it.memory_bytes}

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._all_lines()))

    def _all_lines(self) -> Iterator[deque[Submit]]:
        return (line for lines in self._lines.values() for line in lines.values())

    def _lines_for_room(self) -> Iterator[deque[Submit]]:
        """The lines that wait for room, and not for room in their party's share. A smaller request of
        the same party does not overtake one that waits for the share."""
        for party, lines in self._lines.items():
            for line in lines.values():
                if not self.share(party).fits(line[0]):
                    break
                yield line

    def _submit(self, request: Submit) -> list[Action]:
        if not self._possible(request):
            return [Refuse(request.ticket, True, self._too_large(request))]
        if not request.wait:
            others = request.party in self._lines or any(self._lines_for_room())
            place = None if others or not self.share(request.party).fits(request) else self._try(request)
            return [place or Refuse(request.ticket, False, self._no_room(request))]
        self._lines.setdefault(request.party, {}).setdefault(request.owner, deque()).append(request)
        return self._advance()

    def _advance(self) -> list[Action]:
        actions: list[Action] = []
        while (found := self._next()) is not None:
            request, place = found
            lines = self._lines.pop(request.party)
            line = lines.pop(request.owner)
            actions.append(place)
            line.popleft()
            if line:
                lines[request.owner] = line  # to the end of the line: the next owner has its turn
            if lines:
                self._lines[request.party] = lines  # and the next party
        return actions

    def _next(self) -> tuple[Submit, Place] | None:
        """Find room for the first request in turn that fits; return it and its place. A request for one
        host that has no room delays later requests for that host only, so that no other host idles."""
        held: set[str] = set()
        for line in self._lines_for_room():
            place = self._try(line[0], held)
            if place is not None:
                return line[0], place
            if not line[0].host:
                return None
            held.add(line[0].host)
        return None

    def _possible(self, request: Submit) -> bool:
        """Whether it would fit if all hosts were empty, and its party held nothing."""
        if not self.share(request.party).holds(request):
            return False
        if request.n == 1:
            return any(host.holds(request) for host in self.hosts.values())
        found = 0
        for host in self.hosts.values():
            if host.holds(request):
                by_cpus = host.cpu_units // request.cpu_units if request.cpu_units else request.n
                by_memory = host.memory_bytes // request.memory_bytes if request.memory_bytes else request.n
                found += min(by_cpus, by_memory)
        return found >= request.n

    def _try(self, request: Submit, held: Collection[str] = ()) -> Place | None:
        """Place the request with all of its group; if there is no room, return None and change nothing."""
        places: list[Place] = []
        for i in range(request.n):
            host = self._room(request, held)
            if host is None:
                for place in places:
                    self._take_back(place.ticket)
                return None
            places.append(self._place(request, host, request.ticket + i))
        first = places[0]
        return Place(first.ticket, first.host, first.cores, tuple(places[1:])) if places[1:] else first

    def _take_back(self, ticket: int) -> None:
        request, host = self._placed.pop(ticket)
        self._take(host, request, -1)
        host.unbind(self._cores.pop(ticket, ()))

    def _room(self, request: Submit, held: Collection[str] = ()) -> Host | None:
        for name in (request.host, request.near):
            if name in self.hosts and name not in held and self.hosts[name].fits(request):
                return self.hosts[name]
        if request.host:
            return None
        for name in self._order(request):
            if name not in held and self.hosts[name].fits(request):
                return self.hosts[name]
        return None

    def _order(self, request: Submit) -> Iterator[str]:
        """The emptiest host first, so that processes spread and leave each other memory bandwidth; or, to
        pack, the fullest host that is not full."""
        order = self._by_room if request.cpu_units else self._by_quiet
        first = bisect_left(order, (request.cpu_units or CPU_UNIT,))
        if request.pack:
            yield from (name for *_, name in order[first:])
        else:
            yield from (order[i][3] for i in reversed(range(first, len(order))))
        if not request.cpu_units:  # all are busy: the least busy one
            yield from (order[i][3] for i in reversed(range(first)))

    def _place(self, request: Submit, host: Host, ticket: int) -> Place:
        self._take(host, request)
        self._placed[ticket] = (request, host)
        self._cores[ticket] = cores = host.bind(request)
        return Place(ticket, host.name, cores)

    def _forget(self, ticket: int) -> None:
        for party, lines in list(self._lines.items()):
            for owner, line in list(lines.items()):
                kept = deque(request for request in line if request.ticket != ticket)
                if kept:
                    lines[owner] = kept
                else:
                    del lines[owner]
            if not lines:
                del self._lines[party]

    def _too_large(self, request: Submit) -> str:
        n, hosts, share = request.n, self.hosts.values(), self.share(request.party)
        if not share.holds(request):
            return shortage.beyond_share(request.cpu_units, request.memory_bytes, n, share)
        return shortage.too_large(request.cpu_units, request.memory_bytes, n, request.host, hosts)

    def _no_room(self, request: Submit) -> str:
        n, hosts, share = request.n, self.hosts.values(), self.share(request.party)
        if not share.fits(request):
            return shortage.share_is_full(request.cpu_units, request.memory_bytes, n, share)
        return shortage.no_room(request.cpu_units, request.memory_bytes, n, hosts, self.waiting)

    def validate(self) -> None:
        """The invariants; for tests.

        Raises:
            AssertionError: One of them is broken.
        """
        for host in self.hosts.values():
            taken = [request for request, at in self._placed.values() if at is host]
            assert host.free_cpu_units == host.cpu_units - sum(r.cpu_units for r in taken) >= 0
            assert host.free_memory_bytes == host.memory_bytes - sum(r.memory_bytes for r in taken) >= 0
            bound = [
                core
                for ticket, (_, at) in self._placed.items()
                if at is host
                for core in self._cores.get(ticket, ())
            ]
            assert len({*bound, *host.unbound}) == len(bound) + len(host.unbound), "a core is bound twice"
            assert host.coreless == sum(not r.cpu_units for r in taken)
        for party, share in self._shares.items():
            held = [request for request, _ in self._placed.values() if request.party == party]
            assert share.held_cpu_units == sum(r.cpu_units for r in held), "a share is counted wrongly"
            assert share.held_memory_bytes == sum(r.memory_bytes for r in held)
            assert share.free_cpu_units(0) == share.free_memory_bytes(0) == 0, "more than its share is held"
        assert self._by_room == sorted(map(self._room_of, self.hosts.values()))
        assert self._by_quiet == sorted(map(self._quiet_of, self.hosts.values()))
        assert all(self._all_lines()) and all(self._lines.values()), "an empty line keeps its turn"
        if self._lines:
            assert self._next() is None, "a request waits although there is room"
