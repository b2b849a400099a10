"""Decides which pairs of processes get connected, and how the root sets up a connection.

Ranks of one MPI world on one host create a communicator (`Create_group`); both block in that call. Any
other pair is connected by a socket, a Unix socket on one host and TCP between two: one end listens, the
other connects, with a key that the root gives to both. If that fails between two hosts, it is tried again
by all of their addresses, and every other time the other way round. If both hosts have fabric agents
(`Fabric` says so), these carry what would be a TCP connection: one end listens at a path for the agent of
its host, and the other connects to the agent of its own. In each case the root tells both ends
at the same time, and never has a process in two unfinished connections at once. No process waits for a busy
one, so there are no cycles, and connections between different processes are set up in parallel. If one end
dies or gives up meanwhile, the other is told to abandon the attempt.

A socket that drops while both processes live is replaced in the same way, whichever end reports it, and the
two go on where they were. A death is often first seen as a dropped socket, so nothing is ordered before the
notice of that death had time to come. If the two cannot be connected for as long as a host may be silent,
both are told that the connection is over.

MPI's own way between two worlds, accept and connect, was tried on one host and on several, and does not
survive deaths. With MPICH 5.0.2, all senders to a process through UCX's shared memory share one queue, and
a sender that is killed between taking its place and filling it blocks the queue for all; with UCX over TCP,
processes crashed although none was killed. Open MPI 5.0.11 (ULFM) crashed in `mca_pml_ob1_revoke_comm`
within 300 kills, and between hosts one in two or three connects failed. Neither notices a cut cable within
15 seconds. The ranks of one world end together anyway.
"""

from __future__ import annotations

from _blake2 import blake2b

from cmpi._core.job.fabric import CARRIED, WAIT, Fabric
from cmpi._core.job.job_actions import Say, Tell
from cmpi._core.protocol.helper_root import FABRIC_SOCKET
from cmpi._core.protocol.process_root_connections import (
    Abandon,
    Connect,
    ConnectionDropped,
    ConnectionFailed,
    ConnectionOver,
    ConnectionUp,
    Dial,
    DialThrough,
    GroupWith,
    ListenFor,
    Listening,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

# A survivor's own report that the connection stands, or the notice of a death, may still be on its way.
GRACE_S = 0.1
RETRY_S = 0.2  # between two attempts to connect the same processes
PATIENCE_S = 8.0  # while all attempts to replace a socket fail


if TYPE_CHECKING:
    Action: TypeAlias = "Tell | Say"


class _Member:
    def __init__(self, world: int, rank: int, host: str, number: int) -> None:
        self.world, self.rank, self.host = world, rank, host
        self.number = number  # in the order in which they joined
        self.wants: dict[int, None] = {}  # peers, in the order in which they came up
        self.connected: set[int] = set()
        self.busy_with: int | None = None
        self.carried = False  # whether fabric agents are to carry that connection
        self.retired = False


class _Broken:
    """A connection that has dropped or could not be made, until it is made."""

    def __init__(self, dropped: bool) -> None:
        self.dropped = dropped  # it was up before
        self.due_s: float | None = None  # when to try again; None: an attempt is wanted, or under way
        self.failing_since_s: float | None = None


def _hosts(one: _Member, other: _Member) -> tuple[str, str]:
    """The hosts of two processes, in order."""
    return (min(one.host, other.host), max(one.host, other.host))


def _pair(pid: int, peer: int) -> tuple[int, int]:
    return (min(pid, peer), max(pid, peer))


class ConnectionBroker:
    """The machine. Every method is an event and returns actions; not thread-safe, never blocks.

    Args:
        addresses: The addresses of each host by which the other hosts may reach it, separated by blanks,
            the most promising first.
        secret: The keys of socket connections are derived from it.
        sockets: The folder of the Unix sockets by which two processes of one host connect.
        patience_s: How long attempts to replace a dropped socket may fail.
        fabric: Which hosts have fabric agents.
    """

    def __init__(
        self,
        addresses: dict[str, str] | None = None,
        secret: bytes = b"",
        sockets: str = "",
        patience_s: float = PATIENCE_S,
        fabric: Fabric | None = None,
    ) -> None:
        self._patience_s, self.fabric = patience_s, fabric or Fabric([])
        self._addresses, self._secret, self._sockets = addresses or {}, secret, sockets
        self._listens: dict[int, tuple[str, bytes]] = {}  # by listening process: its address and key
        self._keys_made = 0
        self._failures: dict[tuple[str, str], int] = {}  # how often two hosts could not be connected
        self._members: dict[int, _Member] = {}
        self._broken: dict[tuple[int, int], _Broken] = {}  # by the two processes, the lower pid first
        self._early: dict[int, dict[int, None]] = {}  # peers that have not joined yet, and who wants them
        # Connections whose one end has died: when to tell the survivor, the survivor, the dead process, and
        # whether the survivor knows nothing of the connection.
        self._widowed: list[tuple[float, int, int, bool]] = []
        self._joined = 0
        self._handlers: dict[type, Callable[[int, Any, float], list[Action]]] = {
            Connect: lambda pid, frame, now_s: self.want(pid, frame.peer),
            ConnectionUp: lambda pid, frame, now_s: self.up(pid, frame.peer),
            ConnectionFailed: lambda pid, frame, now_s: self.failed(pid, frame.peer, now_s),
            ConnectionDropped: lambda pid, frame, now_s: self.dropped(pid, frame.peer, now_s),
            Listening: lambda pid, frame, now_s: self.listening(pid, frame.peer, frame.port),
        }
        self.heard = tuple(self._handlers)

    def address_of(self, host: str) -> str:
        """The address at which other hosts reach a host; "" if it is not known."""
        return next(iter(self._addresses.get(host, "").split()), "")

    def address(self, host: str, address: str) -> None:
        """Note the addresses of a host that has come into the job."""
        self._addresses[host] = address

    def join(self, pid: int, world: int, rank: int, host: str = "") -> list[Action]:
        """Add a process; ranks of one `world` share an MPI world."""
        self._joined += 1
        member = self._members[pid] = _Member(world, rank, host, self._joined)
        for peer in self._early.pop(pid, {}):
            if peer in self._members:
                member.wants[peer] = self._members[peer].wants[pid] = None
        return self._advance(pid)

    def on_frame(self, pid: int, frame: object, now_s: float) -> list[Action]:
        """Handle a process's frame about its connections; `heard` lists the types."""
        return self._handlers[type(frame)](pid, frame, now_s)

    def want(self, pid: int, peer: int) -> list[Action]:
        """`pid` has something to send to `peer`; asking again does nothing."""
        member = self._members[pid]
        if pid == peer or peer in member.connected or peer in member.wants or peer == member.busy_with:
            return []
        if _pair(pid, peer) in self._broken:
            return []  # it is tried again anyway
        if peer not in self._members:
            self._early.setdefault(peer, {})[pid] = None
            return []
        member.wants[peer] = self._members[peer].wants[pid] = None
        return self._advance(pid)

    def up(self, pid: int, peer: int) -> list[Action]:
        """`pid` reports that its end of the connection stands."""
        self._members[pid].connected.add(peer)
        if peer in self._members and pid in self._members[peer].connected:
            self._broken.pop(_pair(pid, peer), None)
        return self._free(pid)

    def failed(self, pid: int, peer: int, now_s: float) -> list[Action]:
        """`pid` reports that it has abandoned its end: the peer died, or did not connect in time."""
        other = self._members.get(peer)
        if other is None:
            return self._free(pid)
        member = self._members[pid]
        actions: list[Action] = []
        if member.carried:
            self.fabric.failed(pid, peer)
        else:
            actions += self._complain(_hosts(member, other))
        if self._listens.pop(pid, None) is not None and other.busy_with == pid:
            other.busy_with = None  # `pid` never listened, so the peer was not asked to connect
            actions += self._advance(peer)
        elif other.busy_with == pid and not self._in_one_world(member, other):
            actions.append(Tell(peer, Abandon(pid)))  # it need not wait any longer
        if other.busy_with != pid and pid not in other.wants:  # both have abandoned it
            actions += self._try_later(pid, peer, now_s)
        return [*actions, *self._free(pid)]

    def dropped(self, pid: int, peer: int, now_s: float) -> list[Action]:
        """`pid` reports that the socket of its connection with `peer` has dropped."""
        member, other = self._members[pid], self._members.get(peer)
        if other is None or peer not in member.connected:
            return []  # the peer has ended, or has reported it before
        member.connected.discard(peer)
        other.connected.discard(pid)
        broken = self._broken.setdefault(_pair(pid, peer), _Broken(dropped=True))
        broken.dropped, broken.due_s = True, now_s + GRACE_S
        return self._part(pid, peer)

    def _try_later(self, pid: int, peer: int, now_s: float) -> list[Action]:
        """An attempt to connect the two has failed."""
        pair = _pair(pid, peer)
        broken = self._broken.setdefault(pair, _Broken(dropped=False))
        broken.due_s = now_s + RETRY_S
        member, other = self._members[pid], self._members[peer]
        hosts = _hosts(member, other)
        if hosts in self._failures:
            self._failures[hosts] += 1
        if broken.failing_since_s is None:
            broken.failing_since_s = now_s
        if broken.dropped and now_s >= broken.failing_since_s + self._patience_s:
            between = "" if hosts[0] == hosts[1] else f" between {hosts[0]} and {hosts[1]}"
            for_s = now_s - broken.failing_since_s
            reason = f"connection lost: a socket{between} dropped; no other could be made for {for_s:.0f} s"
            return self._give_up(pair, [(pid, peer), (peer, pid)], reason)
        return self._part(pid, peer)

    def _part(self, pid: int, peer: int) -> list[Action]:
        """If one of two processes whose connection is broken is about to end, tell the other."""
        members = self._members
        ends = [(one, other) for one, other in ((pid, peer), (peer, pid)) if members[other].retired]
        broken = self._broken[_pair(pid, peer)]
        return self._give_up(_pair(pid, peer), ends, "") if ends and broken.dropped else []

    def _give_up(self, pair: tuple[int, int], told: list[tuple[int, int]], reason: str) -> list[Action]:
        del self._broken[pair]
        for one, other in (pair, pair[::-1]):
            self._members[one].wants.pop(other, None)
        return [Tell(pid, ConnectionOver(peer, reason)) for pid, peer in told]

    def listening(self, pid: int, peer: int, port: int) -> list[Action]:
        """`pid` listens for `peer`, at this TCP port or at the path of its socket."""
        address, key = self._listens.pop(pid, ("", b""))
        if self._members[pid].busy_with != peer or peer not in self._members or not key:
            return []
        if self._members[pid].carried:
            agent = f"{self._sockets}/{FABRIC_SOCKET}", self.fabric.key
            return [Tell(peer, DialThrough(pid, self._members[pid].host, *agent, key))]
        return [Tell(peer, Dial(pid, address, port, key))]

    def _complain(self, hosts: tuple[str, str]) -> list[Action]:
        if hosts in self._failures or hosts[0] == hosts[1]:
            return []
        self._failures[hosts] = 0
        one, two = (f"{name} ({self._addresses[name]})" for name in hosts)
        what = (
            f"processes on {one} and {two} cannot connect by TCP yet; it is tried again by all addresses."
        )
        return [Say(f"{what} Is there a firewall between the two?")]

    def retire(self, pid: int) -> list[Action]:
        """`pid` is about to end: it finishes connections that were ordered, and gets no new ones."""
        if pid not in self._members:
            return []
        self._members[pid].retired = True
        broken = [pair for pair in self._broken if pid in pair]
        return [
            action
            for pair in broken
            if self._members[pid].busy_with not in pair
            for action in self._part(*pair)
        ]

    def leave(self, pid: int, now_s: float) -> None:
        """`pid` has ended. A process that was being connected with it is told after a grace period."""
        member = self._members.pop(pid, None)
        self._early.pop(pid, None)
        self.fabric.left(pid)
        for peer in [peer for peer, askers in self._early.items() if pid in askers]:
            del self._early[peer][pid]
            if not self._early[peer]:
                del self._early[peer]
        if member is None:
            return
        self._broken = {pair: broken for pair, broken in self._broken.items() if pid not in pair}
        for peer in member.wants:
            self._members[peer].wants.pop(pid, None)
        for peer in member.connected & self._members.keys():
            self._members[peer].connected.discard(pid)
        untold = self._listens.pop(pid, None) is not None  # the peer has no part in the connection yet
        for peer, other in self._members.items():
            if other.busy_with == pid:
                self._widowed.append((now_s + GRACE_S, peer, pid, untold))

    def tick(self, now_s: float) -> list[Action]:
        """Tell survivors whose grace period is over that the other end is dead; try to connect again; stop
        waiting for fabric agents."""
        due = [item for item in self._widowed if item[0] <= now_s]
        self._widowed = [item for item in self._widowed if item[0] > now_s]
        actions: list[Action] = []
        for _, survivor, dead, untold in due:
            if survivor in self._members and self._members[survivor].busy_with == dead:
                actions += self._free(survivor) if untold else [Tell(survivor, Abandon(dead))]
        for (a, b), broken in list(self._broken.items()):
            if broken.due_s is not None and broken.due_s <= now_s:
                broken.due_s = None
                self._members[a].wants[b] = self._members[b].wants[a] = None
                actions += [*self._advance(a), *self._advance(b)]
        why = self.fabric.tick(now_s)
        return [*actions, *(self._without_fabric(why) if why else [])]

    def fabric_up(self, host: str) -> list[Action]:
        """The fabric agent of a host carries connections."""
        self.fabric.up(host)
        return self._advance_all()

    def fabric_down(self, host: str) -> list[Action]:
        """The fabric agent of a host has ended; the agents' world falls with it, and may come up again."""
        if not self.fabric.down(host):
            return []
        return [
            Say("the fabric agents have ended; channels between hosts go by TCP until they are up again")
        ]

    def fabric_failed(self, reason: str) -> list[Action]:
        """There will be no fabric agents."""
        return self._without_fabric(reason) if self.fabric.give_up() else []

    def _without_fabric(self, reason: str) -> list[Action]:
        return [Say(f"channels between hosts go by TCP: {reason}"), *self._advance_all()]

    def _advance_all(self) -> list[Action]:
        return [action for pid in list(self._members) for action in self._advance(pid)]

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        times = [item[0] for item in self._widowed]
        times += [it.due_s for it in self._broken.values() if it.due_s is not None]
        times += [] if self.fabric.deadline_s is None else [self.fabric.deadline_s]
        return min(times, default=None)

    def _free(self, pid: int) -> list[Action]:
        self._members[pid].busy_with = None
        return self._advance(pid)

    def _advance(self, pid: int) -> list[Action]:
        """Start the first connection that this process waits for and whose other end is free."""
        member = self._members[pid]
        if member.busy_with is not None or member.retired:
            return []
        for peer in member.wants:
            other = self._members[peer]
            if other.busy_with is None and not other.retired and self._way(pid, peer) != WAIT:
                return self._order(*sorted((pid, peer), key=lambda each: self._members[each].number))
        return []

    def _way(self, a: int, b: int) -> str:
        """The way between two processes, if it is not MPI within a world: see `Fabric`."""
        return self.fabric.way(a, self._members[a].host, b, self._members[b].host)

    def _order(self, a: int, b: int) -> list[Action]:
        failures = self._failures.get(_hosts(self._members[a], self._members[b]), 0)
        if failures % 2:
            a, b = b, a  # perhaps only one of the two reaches the other
        first, second = self._members[a], self._members[b]
        del first.wants[b], second.wants[a]
        first.busy_with, second.busy_with = b, a
        first.connected.discard(b)
        second.connected.discard(a)
        here = first.host == second.host
        first.carried = second.carried = carried = self._way(a, b) == CARRIED
        if self._in_one_world(first, second):
            return [
                Tell(a, GroupWith(b, second.rank)),
                Tell(b, GroupWith(a, first.rank)),
            ]
        self._keys_made += 1
        number = self._keys_made.to_bytes(8, "little")
        key = blake2b(number, key=self._secret, digest_size=32).digest()
        if here or carried:
            address = f"{self._sockets}/{a:07x}.link"
        else:  # at first only by the most promising address
            address = self._addresses[first.host] if failures else self.address_of(first.host)
        self._listens[a] = address, key
        return [Tell(a, ListenFor(b, address, key, carried))]

    @staticmethod
    def _in_one_world(one: _Member, other: _Member) -> bool:
        """Whether the two connect by MPI."""
        return one.host == other.host and one.world == other.world

    def validate(self) -> None:
        """The invariants; for tests.

        Raises:
            AssertionError: One of them is broken.
        """
        for pid, member in self._members.items():
            assert member.busy_with != pid and pid not in member.wants and pid not in member.connected
            for peer in member.wants:
                assert pid in self._members[peer].wants, "only one end knows of a wanted connection"
            if member.busy_with is None and not member.retired:
                ready = (peer for peer in member.wants if self._way(pid, peer) != WAIT)
                free = (self._members[peer] for peer in ready)
                assert not any(m.busy_with is None and not m.retired for m in free), "two free ends wait"
