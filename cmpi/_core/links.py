"""Which pairs of processes are linked, and how the root brings a link about.

Two processes of one MPI world make a communicator of their own (`Create_group`); any other pair
uses accept and connect, at the port that each process opened when it joined. Both halves block
inside MPI, one link at a time in each process. Two rules keep them from waiting in a circle:

- The root tells both ends of a link at the same moment, so all processes meet their links in one
  common order; the earliest unfinished link always has both its ends ready.
- An acceptor takes whoever comes and learns the name afterwards (`Identify`), so it does not
  matter that a later partner may knock first.

If one end dies in between, the other is stuck inside MPI, which offers no way out; a third
process (the usher) then plays the dead one's part and leaves again.
"""

from __future__ import annotations

from cmpi._core import frames
from cmpi._core.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

GRACE_S = 0.1  # a survivor's own LinkUp may still be on its way


@record
class Tell:
    """Action: send a frame to a process."""

    pid: int
    frame: object


@record
class Ask:
    """Action: send a frame to the usher."""

    frame: object


if TYPE_CHECKING:
    Action: TypeAlias = "Tell | Ask"


class _Member:
    def __init__(self, port: str, world: int, rank: int) -> None:
        self.port, self.world, self.rank = port, world, rank


class LinkTable:
    """The machine. `handle`-style methods return actions; not thread-safe."""

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}
        self._wanted: set[tuple[int, int]] = set()  # asked for by one end, the other not there yet
        self._ordered: dict[tuple[int, int], set[int]] = {}  # the ends that say it stands
        self._widowed: list[tuple[float, int, int]] = []  # when to look again, who is left, who died
        self._ports_of_dead: dict[int, _Member] = {}
        self._retired: set[int] = set()

    def join(self, pid: int, port: str, world: int, rank: int) -> list[Action]:
        """A process takes part from now on; worlds are compared by their number."""
        self._members[pid] = _Member(port, world, rank)
        actions: list[Action] = []
        for pair in sorted(pair for pair in self._wanted if pid in pair):
            actions += self._order(pair)
        return actions

    def want(self, pid: int, peer: int) -> list[Action]:
        """`pid` has something for `peer`; asking again does nothing."""
        pair = (min(pid, peer), max(pid, peer))
        if pair in self._ordered or pid == peer:
            return []
        self._wanted.add(pair)
        return self._order(pair)

    def up(self, pid: int, peer: int) -> None:
        """`pid` says that its half stands."""
        ends = self._ordered.get((min(pid, peer), max(pid, peer)))
        if ends is not None:
            ends.add(pid)

    def retire(self, pid: int) -> None:
        """`pid` is about to end: it takes part in what was ordered, and in nothing new."""
        self._retired.add(pid)

    def leave(self, pid: int, now_s: float) -> None:
        """`pid` has ended. Its half-made links are looked at again after a grace."""
        member = self._members.pop(pid, None)
        self._retired.discard(pid)
        self._wanted = {pair for pair in self._wanted if pid not in pair}
        for pair in [pair for pair in self._ordered if pid in pair]:
            ends = self._ordered.pop(pair)
            survivor = pair[0] if pair[1] == pid else pair[1]
            left = self._members.get(survivor)
            if member is None or left is None or survivor in ends or member.world == left.world:
                continue
            self._ordered[pair] = ends  # keeps its LinkUp, should that still come
            self._ports_of_dead[pid] = member
            self._widowed.append((now_s + GRACE_S, survivor, pid))

    def tick(self, now_s: float) -> list[Action]:
        """Release those that wait for the dead."""
        actions: list[Action] = []
        for due in [item for item in self._widowed if item[0] <= now_s]:
            self._widowed.remove(due)
            _, survivor, dead = due
            ends = self._ordered.pop((min(survivor, dead), max(survivor, dead)), {survivor})
            if survivor in ends or survivor not in self._members:
                continue
            actions.append(Tell(survivor, frames.Abandon(dead)))
            if survivor < dead:  # the smaller pid accepts
                actions.append(Ask(frames.ConnectAndLeave(self._members[survivor].port)))
            else:
                actions.append(Ask(frames.AcceptAndLeave(self._ports_of_dead[dead].port)))
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        return min((item[0] for item in self._widowed), default=None)

    def _order(self, pair: tuple[int, int]) -> list[Action]:
        a, b = pair
        first, second = self._members.get(a), self._members.get(b)
        if first is None or second is None or not self._retired.isdisjoint(pair):
            return []
        self._wanted.discard(pair)
        self._ordered[pair] = set()
        if first.world == second.world:
            return [
                Tell(a, frames.GroupWith(b, second.rank)),
                Tell(b, frames.GroupWith(a, first.rank)),
            ]
        return [Tell(a, frames.AcceptFrom(b)), Tell(b, frames.ConnectTo(a, first.port))]
