"""Places the ranks of the job's world on hosts. Pure.

By slot, the hosts are filled one after another, as MPI's launchers do by default. By node, each host gets
one rank in turn. If there are more ranks than slots, the remaining ranks are placed in the same way again.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi.errors import UsageError

BY = ("slot", "node")


@frozen
class HostSlots:
    """A host to place ranks on; a `max_slots` of 0 is no limit."""

    name: str
    slots: int
    max_slots: int = 0


def place_ranks(n: int, places: list[HostSlots], by: str) -> list[str]:
    """Return the host of each rank, in the order of ranks. Blocks: never.

    Raises:
        UsageError: There are more ranks than `max_slots` allow.

    >>> place_ranks(3, [HostSlots("a", 2), HostSlots("b", 2)], "slot")
    ['a', 'a', 'b']
    >>> place_ranks(3, [HostSlots("a", 2), HostSlots("b", 2)], "node")
    ['a', 'b', 'a']
    """
    room = {place.name: place.max_slots or n for place in places}
    if sum(room.values()) < n:
        most = ", ".join(f"{place.name} {room[place.name]}" for place in places)
        raise UsageError(
            f"{n} ranks were requested, but the hosts accept at most {sum(room.values())}: {most}"
        )
    hosts: list[str] = []
    while len(hosts) < n:
        wave = {place.name: min(place.slots, room[place.name]) for place in places}
        for name in wave:
            room[name] -= wave[name]
        if not any(wave.values()):  # only slots beyond the last complete round are left
            wave, room = dict(room), dict.fromkeys(room, 0)
        if by == "slot":
            hosts += [name for name, count in wave.items() for _ in range(count)]
        else:
            for turn in range(max(wave.values())):
                hosts += [name for name, count in wave.items() if turn < count]
    return hosts[:n]


def runs(hosts: list[str]) -> list[tuple[str, int]]:
    """Group consecutive ranks of one host: the host, and how many.

    >>> runs(["a", "a", "b"])
    [('a', 2), ('b', 1)]
    """
    found: list[tuple[str, int]] = []
    for host in hosts:
        if found and found[-1][0] == host:
            found[-1] = (host, found[-1][1] + 1)
        else:
            found.append((host, 1))
    return found
