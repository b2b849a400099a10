"""`select` over real channels, with any order of sends, reads and ends; all their ends are in one
process."""

import itertools
import shutil
import tempfile
import threading
import time
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmpi import EndOfChannel, PeerClosed, PeerExited, Receiver, Sender, select
from cmpi._core.channel.windows import Windows
from cmpi._runtime.process import context
from cmpi._runtime.process.aborts import PendingAborts
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.dropped_ends import DroppedEnds
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._runtime.process.peers import Peers
from cmpi._runtime.process.socket_waits import SocketWaits
from cmpi._runtime.process.wait_registry import WaitRegistry
from cmpi._transport import ring
from cmpi.identifiers import ExitStatus, Pid

pytestmark = pytest.mark.skipif(not ring.usable(), reason="this machine does not keep stores in order")
OTHERS = 3
CAPACITY = 1  # of the channels from the middle to the others, in messages
NONE = object()


class Node:
    """What peers need of their process: everybody shares memory, and hears each bell."""

    def __init__(self, pid, folder, nodes):
        self.pid, self.shared_memory, self.shared_memory_bytes = pid, folder, 1 << 20
        self.lock, self.connecting, self.doorbell, self.waits = (
            NodeLock(),
            False,
            self,
            WaitRegistry(),
        )
        self.changed = ChannelCondition(self.lock)
        self.state, self.socket_waits = self, SocketWaits(self.lock)
        self.looked_at = lambda pid: None
        self.promised_bytes, self.windows = (lambda pid: 0), Windows(0)
        self.nodes, self.exits, self.peers = nodes, self, Peers(self, self)
        self.aborts, self.dropped_ends, self.failed = PendingAborts(self.nudge), DroppedEnds(self), False

    def ended(self, pid):
        return None

    def ring(self, pid, sent):
        self.nodes[Pid(pid)].peers.get(self.pid).connection.rung(sent)
        return True

    def progress(self):
        with self.lock:
            while any(peer.progress() for peer in self.peers):
                pass

    def shares_memory(self, pid):
        return True

    def nudge(self):
        pass

    closed = False
    owner = 0

    def watch(self, pid):
        pass


class SelectUnderAnyOrder(RuleBasedStateMachine):
    """One process in the middle receives from three others, and sends to each of them.

    The model: what each channel holds, as far as the process in the middle can know.
    """

    numbers = itertools.count()

    @initialize()
    def start(self):
        self.folder = tempfile.mkdtemp()
        self.nodes = {}
        for value in range(1, OTHERS + 2):
            self.nodes[Pid(value)] = Node(Pid(value), self.folder, self.nodes)
        self.middle, *self.others = self.nodes.values()
        name = str(next(self.numbers))  # all ends are registered in one process, so names must be unique
        self.ring_inbox, self.outward, self.receivers, self.senders = [], [], [], []
        for other in self.others:
            own = f"{name}.{other.pid.value}"
            self.ring_inbox.append(self.on(other, Sender, self.middle.pid, name=own))
            self.outward.append(self.on(other, Receiver, self.middle.pid, name=own))
            self.receivers.append(self.on(self.middle, Receiver, other.pid, name=own))
            self.senders.append(self.on(self.middle, Sender, other.pid, name=own, capacity=CAPACITY))
        # By channel to the middle: messages that it has not seen.
        self.sent = [deque() for _ in self.others]
        self.seen = [deque() for _ in self.others]
        self.end = [None] * OTHERS  # by channel to the middle: how it ends, once the middle has seen that
        self.coming = [None] * OTHERS
        self.under_way = [deque() for _ in self.others]  # by channel from the middle: messages not read
        self.credit = [CAPACITY] * OTHERS  # as the middle knows it
        self.read = [0] * OTHERS  # messages read, which the middle does not know
        self.dropped = [False] * OTHERS
        self.dropping = [False] * OTHERS
        self.opened = [False] * OTHERS  # the other side has learned of the channel from the middle
        self.count = 0

    def on(self, node, cls, pid, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(context, "current", lambda: node)
            return cls(pid, **options)

    @rule(i=st.integers(0, OTHERS - 1))
    def somebody_sends(self, i):
        if self.coming[i] is None:
            self.count += 1
            self.ring_inbox[i].send(self.count, timeout=0)
            self.sent[i].append(self.count)

    @rule(i=st.integers(0, OTHERS - 1))
    def somebody_reads(self, i):
        if self.dropping[i] or self.coming[i] == "gone":
            return
        self.others[i].progress()
        value = self.outward[i].try_recv(NONE)
        assert value == (self.under_way[i].popleft() if self.under_way[i] else NONE)
        if value is not NONE:
            self.read[i] += 1

    @rule(i=st.integers(0, OTHERS - 1))
    def somebody_closes_its_sender(self, i):
        if self.coming[i] is None:
            self.ring_inbox[i].close()
            self.coming[i] = "ended"

    @rule(i=st.integers(0, OTHERS - 1))
    def somebody_closes_its_receiver(self, i):
        if self.opened[i] and self.coming[i] != "gone" and not self.dropping[i]:
            self.others[i].progress()
            self.outward[i].close()
            self.dropping[i] = True

    @rule(i=st.integers(0, OTHERS - 1))
    def somebody_dies(self, i):
        if self.coming[i] != "gone":
            closed = self.coming[i] == "ended"
            self.coming[i] = "gone"
            with self.middle.lock:
                self.middle.peers.get(self.others[i].pid).exited(ExitStatus(137, 9))
            self.the_middle_looks_around()
            self.end[i] = "ended" if closed else "gone"

    @rule()
    def the_middle_looks_around(self):
        self.middle.progress()
        for i in range(OTHERS):
            self.seen[i] += self.sent[i]
            self.sent[i].clear()
            self.credit[i] += self.read[i]
            self.read[i] = 0
            self.end[i] = self.end[i] or self.coming[i]
            self.dropped[i] = self.dropping[i] or self.coming[i] == "gone"

    def operations(self, mask):
        """The operations that the mask selects, each with what it may do now."""
        chosen = []
        for i in range(OTHERS):
            if mask >> i & 1:
                ready = bool(self.seen[i]) or self.end[i] is not None
                chosen.append((self.receivers[i], i, "recv", ready))
            if mask >> (i + OTHERS) & 1:
                ready = self.credit[i] > 0 or self.dropped[i]
                chosen.append((self.senders[i].sending((i, self.count)), i, "send", ready))
        return chosen

    def check(self, chosen, do):
        """The selected operation must be one of the ready ones, and must do what it reports."""
        errors = (EndOfChannel, PeerExited, PeerClosed)
        try:
            operation, value = do([operation for operation, *_ in chosen])
            error = None
        except errors as raised:
            operation, value, error = raised.operation, None, raised
        i, kind, ready = next((i, kind, ready) for op, i, kind, ready in chosen if op is operation)
        assert ready
        if kind == "recv" and self.seen[i]:
            assert error is None and value == self.seen[i].popleft()
        elif kind == "recv":
            assert isinstance(error, EndOfChannel if self.end[i] == "ended" else PeerExited)
        elif self.dropped[i]:
            assert isinstance(error, PeerExited if self.coming[i] == "gone" else PeerClosed)
        else:
            assert error is None and value is None
            self.credit[i] -= 1
            self.opened[i] = True
            if not self.dropping[i]:
                self.under_way[i].append((i, self.count))

    @rule(mask=st.integers(1, (1 << 2 * OTHERS) - 1))
    def select_without_waiting(self, mask):
        chosen = self.operations(mask)
        if any(ready for *_, ready in chosen):
            self.check(chosen, lambda operations: select(*operations, default=NONE))
        else:
            assert select(*(op for op, *_ in chosen), default=NONE) == (None, NONE)
            with pytest.raises(TimeoutError):
                select(*(op for op, *_ in chosen), timeout=0.0)

    @rule(mask=st.integers(1, (1 << OTHERS) - 1), which=st.integers(0, OTHERS - 1))
    def select_that_has_to_wait(self, mask, which):
        """Something arrives on one of the channels while select waits for all of them."""
        self.the_middle_looks_around()
        chosen = self.operations(mask)
        waiting = [i for _, i, _, _ in chosen if self.coming[i] is None]
        if any(ready for *_, ready in chosen) or not waiting:
            return
        i = waiting[which % len(waiting)]
        result = []
        operations = [op for op, *_ in chosen]
        thread = threading.Thread(target=lambda: result.append(select(*operations, timeout=10)))
        thread.start()
        while thread.is_alive() and not self.middle.waits._all:
            time.sleep(0.0001)
        self.somebody_sends(i)
        self.the_middle_looks_around()
        thread.join()
        assert result == [(self.receivers[i], self.seen[i].popleft())]

    @invariant()
    def nobody_is_left_busy_or_watched(self):
        for end in [*getattr(self, "receivers", []), *getattr(self, "senders", [])]:
            assert not end._end.busy and not end._end.changed.waiters

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        self.the_middle_looks_around()
        for i in range(OTHERS):
            while self.seen[i]:
                assert self.receivers[i].recv() == self.seen[i].popleft()
        for node in self.nodes.values():
            for peer in node.peers:
                peer.connection.free(peer_ended=True)
        shutil.rmtree(self.folder)


SelectUnderAnyOrder.TestCase.settings = settings(max_examples=settings.default.max_examples * 6 // 10)
TestSelectUnderAnyOrder = SelectUnderAnyOrder.TestCase
