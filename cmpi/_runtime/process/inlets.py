"""Inlets, the basis of mailboxes: channels that any process may open to this one, read together.

A sender to a mailbox is an ordinary sender, on a channel with a reserved name. The mailbox's inlet claims
the receiving end as soon as the peer opens the channel, and reads the messages of all these channels in the
order of arrival.
"""

from __future__ import annotations

from collections import deque

from cmpi._core.channel.contract import Contract
from cmpi._core.protocol.process_process import RESERVED
from cmpi._runtime.process.aborts import cause_of
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.connection_condition import ConnectionCondition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cmpi._runtime.process.channel_ends import ReceiverEnd
    from cmpi._runtime.process.connection import Connection
    from cmpi._runtime.process.node_lock import NodeLock
    from cmpi._runtime.process.peer import Peer
    from cmpi._runtime.process.socket_waits import SocketWaits

ANY = Contract()
MAILBOX = f"{RESERVED}mailbox "  # followed by the mailbox's key


class Inlets:
    """The inlets of one process, by the keys of their mailboxes. Guarded by the node's lock."""

    def __init__(self, peers: Iterable[Peer], lock: NodeLock, waits: SocketWaits) -> None:
        self._peers, self.lock, self.waits = peers, lock, waits
        self._inlets: dict[str, Inlet] = {}
        self._closed: set[str] = set()  # keys of mailboxes that were closed
        self._refused: set[tuple[int, str]] = set()
        self.holders: dict[str, int] = {}  # by name: the process that last had it

    def open(self, key: str, contract: Contract, site: str) -> Inlet | None:
        """Open an inlet for everything that was and will be sent to this key; None if there is one
        already."""
        if key in self._inlets:
            return None
        self._closed.discard(key)
        inlet = self._inlets[key] = Inlet(self, key, contract, site)
        for peer in self._peers:
            for name, ends in peer.ends.unclaimed.items():
                if name.startswith(MAILBOX) and self._of(name) is inlet:
                    for _ in range(len(ends)):
                        inlet.claim(peer, name)
        return inlet

    def _of(self, name: str) -> Inlet | None:
        """The inlet for a channel: the one with its key, or else the one without a key."""
        key = name[len(MAILBOX) :]
        other = None if key.startswith(RESERVED) else self._inlets.get("")
        return self._inlets.get(key) or other

    def opened(self, peer: Peer, name: str) -> None:
        """A peer has opened a channel with a reserved name that nobody has claimed."""
        mail = name.startswith(MAILBOX)
        inlet = self._of(name) if mail else None
        if inlet is not None:
            inlet.claim(peer, name)
        elif (peer.pid.value, name) in self._refused or (mail and name[len(MAILBOX) :] in self._closed):
            self._refused.discard((peer.pid.value, name))
            peer.close_receiver(peer.new_receiver(name, ANY, ""))

    def refuse(self, peer: Peer, name: str) -> None:
        """Refuse a channel that nobody waits for any more, even if the peer opens it only later."""
        if peer.ends.unclaimed.get(name):
            peer.close_receiver(peer.new_receiver(name, ANY, ""))
        elif peer.status is None:
            self._refused.add((peer.pid.value, name))

    def forget(self, inlet: Inlet) -> None:
        """Forget an inlet that is closed."""
        if self._inlets.get(inlet.key) is inlet:
            del self._inlets[inlet.key]
            self._closed.add(inlet.key)

    def settle(self) -> None:
        """The process ends in order, so the messages read last count as dealt with."""
        for inlet in self._inlets.values():
            inlet.settle()


class Inlet:
    """The inlet of one mailbox. Guarded by the node's lock."""

    def __init__(self, inlets: Inlets, key: str, contract: Contract, site: str) -> None:
        self.key, self._inlets, self._contract, self._site = key, inlets, contract, site
        self.changed = ConnectionCondition(inlets.lock, inlets.waits, lambda: self.connections)
        self._listed: dict[ReceiverEnd, int] = {}  # how many messages of each are in the next, or current
        self._arrivals: deque[ReceiverEnd] = deque()  # one entry for each message, in their order
        self._current: ReceiverEnd | None = None  # whose first message is being dealt with
        self._last: ReceiverEnd | None = None
        self.closed = False

    def claim(self, peer: Peer, name: str) -> None:
        """Read this channel, which the peer has opened, too."""
        end = peer.new_receiver(name, self._contract, self._site)
        end.changed = _Arrivals(self, end)
        self._listed[end] = 0
        self.stirred(end)

    def stirred(self, end: ReceiverEnd) -> bool:
        """Something has arrived at this end; return whether somebody waits for it."""
        inbox, listed = end.machine.inbox, self._listed.get(end)
        if listed is None:
            return False
        if end.mismatch is None:
            self._arrivals.extend([end] * (len(inbox) - listed))
            self._listed[end] = len(inbox)
        awaited = self.changed.waiters > 0
        if self._arrivals:
            self.changed.notify_all()
        self._let_go(end)
        return awaited

    def _let_go(self, end: ReceiverEnd) -> None:
        """Forget an end from which nothing more will come; an inlet does not report the death of a
        sender."""
        if end.mismatch is not None or (end.machine.state != "open" and not end.machine.inbox):
            del self._listed[end]
            end.peer.forget(end)
            if self._last is end:
                self._last = None

    @property
    def readable(self) -> bool:
        """True if there is a message, or there will never be one."""
        return bool(self._arrivals) or self.closed

    def look(self) -> None:
        """Look for the next of whoever sent last, who may be about to."""
        while not self.readable and self._last is not None and self._last.peer.connection.inbox.look():
            pass

    def take(self) -> tuple[ReceiverEnd, Any]:
        """Return the oldest message and its end. It counts as read only when the next one is asked for, so
        that its sender learns whether this process ended while dealing with it."""
        self._current = self._last = end = self._arrivals.popleft()
        return end, end.machine.inbox[0][0]

    def put_back(self) -> None:
        """The message taken last could not be returned: it is the oldest again."""
        end, self._current = self._current, None
        if end is not None and not self.closed:
            self._arrivals.appendleft(end)

    def settle(self) -> None:
        """The last message has been dealt with: give credit to its sender."""
        end, self._current = self._current, None
        if end is not None and end in self._listed and end.machine.inbox:
            self._listed[end] -= 1
            end.machine.take()
            end.peer.give_credit(end)
            self._let_go(end)

    def close(self, error: BaseException | None) -> None:
        """Stop reading, perhaps because of an error; unread messages are dropped."""
        self.closed = True
        for end in list(self._listed):
            if error is None:
                end.close()
            else:
                end.abort(cause_of(error), error)
        self._listed.clear()
        self._arrivals.clear()
        self._inlets.forget(self)
        self.changed.notify_all()

    @property
    def connections(self) -> list[Connection]:
        """The connections whose input the inlet reads."""
        return [end.connection for end in self._listed]


class _Arrivals(ChannelCondition):
    """The condition of a receiving end that belongs to an inlet."""

    def __init__(self, inlet: Inlet, end: ReceiverEnd) -> None:
        super().__init__(end.lock)
        self._inlet, self._end = inlet, end
        self.waiters = 1  # so that it is always notified

    def notify_all(self) -> None:
        self._inlet.stirred(self._end)

    def stir(self) -> bool:
        return self._inlet.stirred(self._end)
