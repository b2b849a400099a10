"""Decides which pairs of processes get connected, and how the root sets up a connection.

Ranks of one MPI world on one host create a communicator (`Create_group`); both block in that call. Any
other pair is connected by a socket, a Unix socket on one host and TCP between two: one end listens, the
other connects, with a key that the root gives to both. If that fails between two hosts, it is tried again
by all of their addresses, and every other time the other way round. In either case the root tells both ends
at the same time, and never has a process in two unfinished connections at once. No process waits for a busy
one, so there are no cycles, and connections between different processes are set up in parallel. If one end
dies meanwhile, the other is told to abandon the connection.

MPI's own way between two worlds, accept and connect, was tried on one host and on several, and does not
survive deaths. With MPICH 5.0.2, all senders to a process through UCX's shared memory share one queue, and
a sender that is killed between taking its place and filling it blocks the queue for all; with UCX over TCP,
processes crashed although none was killed. Open MPI 5.0.11 (ULFM) crashed in `mca_pml_ob1_revoke_comm`
within 300 kills, and between hosts one in two or three connects failed. Neither notices a cut cable within
15 seconds. The ranks of one world end together anyway.
"""

from __future__ import annotations

from _blake2 import blake2b

from cmpi._core.job.job_actions import Say, Tell
from cmpi._core.protocol.process_root_connections import (
    Abandon,
    Connect,
    ConnectionFailed,
    ConnectionUp,
    Dial,
    GroupWith,
    ListenFor,
    Listening,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

GRACE_S = 0.1  # a survivor's own report that the connection stands may still be on its way


if TYPE_CHECKING:
    Action: TypeAlias = "Tell | Say"


class _Member:
    def __init__(self, world: int, rank: int, host: str, number: int) -> None:
        self.world, self.rank, self.host = world, rank, host
        self.number = number  # in the order in which they joined
        self.wants: dict[int, None] = {}  # peers, in the order in which they came up
        self.connected: set[int] = set()
        self.busy_with: int | None = None
        self.retired = False


def _pair(one: _Member, other: _Member) -> tuple[str, str]:
    """The hosts of two processes, in order."""
    return (min(one.host, other.host), max(one.host, other.host))


class ConnectionBroker:
    """The machine. Every method is an event and returns actions; not thread-safe, never blocks.

    Args:
        addresses: The addresses of each host by which the other hosts may reach it, separated by blanks,
            the most promising first.
        secret: The keys of socket connections are derived from it.
        sockets: The folder of the Unix sockets by which two processes of one host connect.
    """

    def __init__(
        self, addresses: dict[str, str] | None = None, secret: bytes = b"", sockets: str = ""
    ) -> None:
        self._addresses, self._secret, self._sockets = addresses or {}, secret, sockets
        self._listens: dict[int, tuple[str, bytes]] = {}  # by listening process: its address and key
        self._keys_made = 0
        self._failures: dict[tuple[str, str], int] = {}  # how often two hosts could not be connected
        self._members: dict[int, _Member] = {}
        self._early: dict[int, dict[int, None]] = {}  # peers that have not joined yet, and who wants them
        # Connections whose one end has died: when to tell the survivor, the survivor, the dead process, and
        # whether the survivor knows nothing of the connection.
        self._widowed: list[tuple[float, int, int, bool]] = []
        self._joined = 0
        self._handlers: dict[type, Callable[[int, Any], list[Action]]] = {
            Connect: lambda pid, frame: self.want(pid, frame.peer),
            ConnectionUp: lambda pid, frame: self.up(pid, frame.peer),
            ConnectionFailed: lambda pid, frame: self.failed(pid, frame.peer),
            Listening: lambda pid, frame: self.listening(pid, frame.peer, frame.port),
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

    def on_frame(self, pid: int, frame: object) -> list[Action]:
        """Handle a process's frame about its connections; `heard` lists the types."""
        return self._handlers[type(frame)](pid, frame)

    def want(self, pid: int, peer: int) -> list[Action]:
        """`pid` has something to send to `peer`; asking again does nothing."""
        member = self._members[pid]
        if pid == peer or peer in member.connected or peer in member.wants or peer == member.busy_with:
            return []
        if peer not in self._members:
            self._early.setdefault(peer, {})[pid] = None
            return []
        member.wants[peer] = self._members[peer].wants[pid] = None
        return self._advance(pid)

    def up(self, pid: int, peer: int) -> list[Action]:
        """`pid` reports that its end of the connection stands."""
        self._members[pid].connected.add(peer)
        return self._free(pid)

    def failed(self, pid: int, peer: int) -> list[Action]:
        """`pid` reports that it has abandoned its end: the peer died, or did not connect in time."""
        other = self._members.get(peer)
        if other is None:
            return self._free(pid)
        member = self._members[pid]
        pair = _pair(member, other)
        complaint = self._complain(pair)
        if self._listens.pop(pid, None) is not None and other.busy_with == pid:
            other.busy_with = None  # `pid` never listened, so the peer was not asked to connect
        if other.busy_with != pid and pid not in other.wants:
            member.wants[peer] = other.wants[pid] = None  # both have abandoned it: try again
            if pair in self._failures:
                self._failures[pair] += 1
        return [*complaint, *self._free(pid), *self._advance(peer)]

    def listening(self, pid: int, peer: int, port: int) -> list[Action]:
        """`pid` listens for `peer`, at this TCP port or at the path of its socket."""
        address, key = self._listens.pop(pid, ("", b""))
        if self._members[pid].busy_with != peer or peer not in self._members or not key:
            return []
        return [Tell(peer, Dial(pid, address, port, key))]

    def _complain(self, pair: tuple[str, str]) -> list[Action]:
        if pair in self._failures or pair[0] == pair[1]:
            return []
        self._failures[pair] = 0
        one, two = (f"{name} ({self._addresses[name]})" for name in pair)
        what = (
            f"processes on {one} and {two} cannot connect by TCP yet; it is tried again by all addresses."
        )
        return [Say(f"{what} Is there a firewall between the two?")]

    def retire(self, pid: int) -> None:
        """`pid` is about to end: it finishes connections that were ordered, and gets no new ones."""
        if pid in self._members:
            self._members[pid].retired = True

    def leave(self, pid: int, now_s: float) -> None:
        """`pid` has ended. A process that was being connected with it is told after a grace period."""
        member = self._members.pop(pid, None)
        self._early.pop(pid, None)
        for peer in [peer for peer, askers in self._early.items() if pid in askers]:
            del self._early[peer][pid]
            if not self._early[peer]:
                del self._early[peer]
        if member is None:
            return
        for peer in member.wants:
            self._members[peer].wants.pop(pid, None)
        for peer in member.connected & self._members.keys():
            self._members[peer].connected.discard(pid)
        untold = self._listens.pop(pid, None) is not None  # the peer has no part in the connection yet
        for peer, other in self._members.items():
            if other.busy_with == pid:
                self._widowed.append((now_s + GRACE_S, peer, pid, untold))

    def tick(self, now_s: float) -> list[Action]:
        """Tell survivors whose grace period is over that the other end is dead."""
        due = [item for item in self._widowed if item[0] <= now_s]
        self._widowed = [item for item in self._widowed if item[0] > now_s]
        actions: list[Action] = []
        for _, survivor, dead, untold in due:
            if survivor in self._members and self._members[survivor].busy_with == dead:
                actions += self._free(survivor) if untold else [Tell(survivor, Abandon(dead))]
        return actions

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        return min((item[0] for item in self._widowed), default=None)

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
            if other.busy_with is None and not other.retired:
                return self._order(*sorted((pid, peer), key=lambda each: self._members[each].number))
        return []

    def _order(self, a: int, b: int) -> list[Action]:
        failures = self._failures.get(_pair(self._members[a], self._members[b]), 0)
        if failures % 2:
            a, b = b, a  # perhaps only one of the two reaches the other
        first, second = self._members[a], self._members[b]
        del first.wants[b], second.wants[a]
        first.busy_with, second.busy_with = b, a
        here = first.host == second.host
        if here and first.world == second.world:
            return [
                Tell(a, GroupWith(b, second.rank)),
                Tell(b, GroupWith(a, first.rank)),
            ]
        self._keys_made += 1
        number = self._keys_made.to_bytes(8, "little")
        key = blake2b(number, key=self._secret, digest_size=32).digest()
        if here:
            address = f"{self._sockets}/{a:07x}.link"
        else:  # at first only by the most promising address
            address = self._addresses[first.host] if failures else self.address_of(first.host)
        self._listens[a] = address, key
        return [Tell(a, ListenFor(b, address, key))]

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
                free = (self._members[peer] for peer in member.wants)
                assert not any(m.busy_with is None and not m.retired for m in free), "two free ends wait"
