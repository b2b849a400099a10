"""The connection broker: processes join, want connections, report and die, in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmpi._core.job.connection_broker import GRACE_S, PATIENCE_S, RETRY_S, ConnectionBroker
from cmpi._core.job.job_actions import Tell
from cmpi._core.protocol.process_root_connections import (
    Abandon,
    ConnectionOver,
    Dial,
    GroupWith,
    ListenFor,
)

PIDS = st.integers(1, 5)


class LinksUnderAnyOrder(RuleBasedStateMachine):
    """Plays the connectors of the processes: one order at a time, and both ends must take part."""

    @initialize()
    def start(self):
        self.table = ConnectionBroker(sockets="/job")
        self.now = 0.0
        self.alive, self.joined = {1, 2, 3, 4, 5}, set()
        self.orders = {}  # pid: peer
        self.silent = set()  # processes that were told to listen, and have not reported that they do
        self.wanted, self.up = set(), set()
        self.stands = set()  # (process, peer): the process has told that its end stands
        self.retired, self.over = set(), set()

    def _do(self, actions):
        for action in actions:
            if isinstance(action, Tell):
                self._told(action.pid, action.frame)

    def _told(self, pid, frame):
        if isinstance(frame, Abandon):
            assert frame.peer not in self.alive or self.orders.get(frame.peer) != pid
            if self.orders.get(pid) == frame.peer:
                self.gives_up(pid)
        elif isinstance(frame, ConnectionOver):
            assert frame.reason or frame.peer in self.retired
            self.over.add((min(pid, frame.peer), max(pid, frame.peer)))
        else:
            self.stands.discard((pid, frame.peer))
            assert pid in self.alive and pid not in self.orders, "two links at once in one process"
            self.orders[pid] = frame.peer
            if isinstance(frame, ListenFor):
                self.silent.add(pid)

    @rule(pid=PIDS)
    def join(self, pid):
        if pid in self.alive and pid not in self.joined:
            self.joined.add(pid)
            self._do(self.table.join(pid, -(pid // 2), 0))

    @rule(pid=PIDS, peer=PIDS)
    def want(self, pid, peer):
        if pid in self.joined & self.alive and peer in self.alive and pid != peer:
            self.wanted.add((min(pid, peer), max(pid, peer)))
            self._do(self.table.want(pid, peer))

    @precondition(lambda self: self.orders)
    @rule(pid=PIDS)
    def link_is_made(self, pid):
        if pid in self.orders:
            peer = self.orders[pid]
            if self.orders.get(peer) == pid and not self.silent & {pid, peer}:
                self.stands |= {(pid, peer), (peer, pid)}
                for one, other in ((pid, peer), (peer, pid)):
                    del self.orders[one]
                    self._do(self.table.up(one, other))
                self.up.add((min(pid, peer), max(pid, peer)))

    @precondition(lambda self: self.orders)
    @rule(pid=PIDS)
    def one_end_stands_and_the_other_fails(self, pid):
        peer = self.orders.get(pid)
        if peer is not None and self.orders.get(peer) == pid and not self.silent & {pid, peer}:
            self.stands.add((pid, peer))
            del self.orders[pid]
            self._do(self.table.up(pid, peer))
            self.gives_up(peer)

    @precondition(lambda self: self.stands)
    @rule(pid=PIDS, both=st.booleans())
    def socket_drops(self, pid, both):
        for one, peer in sorted(self.stands):
            if one == pid and pid in self.alive:
                self.stands.discard((pid, peer))
                self.up.discard((min(pid, peer), max(pid, peer)))
                self._do(self.table.dropped(pid, peer, self.now))
                if both and (peer, pid) in self.stands and peer in self.alive:
                    self.stands.discard((peer, pid))
                    self._do(self.table.dropped(peer, pid, self.now))
                return

    @rule(pid=PIDS, really=st.sampled_from([False, False, True]))
    def is_about_to_end(self, pid, really):
        if really and pid in self.joined & self.alive and pid not in self.orders:
            self.retired.add(pid)
            self._do(self.table.retire(pid))

    @precondition(lambda self: self.silent)
    @rule(pid=PIDS)
    def listens(self, pid):
        if pid in self.silent:
            self.silent.discard(pid)
            self._do(self.table.listening(pid, self.orders[pid], 0))

    @precondition(lambda self: self.orders)
    @rule(pid=PIDS)
    def gives_up(self, pid):
        """Not only a process that was told to abandon it may give up: it may run out of time, or of
        descriptors."""
        if pid in self.orders:
            self.silent.discard(pid)
            peer = self.orders.pop(pid)
            self._do(self.table.failed(pid, peer, self.now))

    @rule(pid=PIDS)
    def dies(self, pid):
        if pid in self.alive:
            self.alive.discard(pid)
            self.joined.discard(pid)
            self.orders.pop(pid, None)
            self.silent.discard(pid)
            self.stands = {ends for ends in self.stands if pid not in ends}
            self.table.leave(pid, self.now)

    @rule()
    def time_passes(self):
        self.now += RETRY_S
        self._do(self.table.tick(self.now))

    @invariant()
    def table_is_consistent(self):
        self.table.validate()

    def teardown(self):
        if not hasattr(self, "table"):
            return
        for pid in sorted(self.alive - self.joined):
            self.join(pid)
        for _ in range(200):
            self.time_passes()
            for pid in list(self.orders):
                self.listens(pid)
                self.link_is_made(pid)
                if self.orders.get(pid, pid) not in self.orders:
                    self.gives_up(pid)  # the other end has given up
        living = {pair for pair in self.wanted if set(pair) <= self.alive - self.retired}
        assert living <= self.up | self.over, "a wanted link between the living is made in the end"
        assert not self.orders, "nobody is left waiting"


TestLinksUnderAnyOrder = LinksUnderAnyOrder.TestCase
TestLinksUnderAnyOrder.settings = settings(max_examples=4 * settings.default.max_examples)


def tells(actions):
    return [action for action in actions if isinstance(action, Tell)]


def test_ranks_of_one_world_make_a_group():
    table = ConnectionBroker()
    table.join(7, 0, 3)
    table.join(9, 0, 1)
    assert table.want(9, 7) == [
        Tell(7, GroupWith(9, 1)),
        Tell(9, GroupWith(7, 3)),
    ]


def test_a_connection_requested_before_the_peer_has_joined_is_made_when_it_joins():
    table = ConnectionBroker(sockets="/job")
    table.join(1, -1, 0)
    assert table.want(1, 2) == []
    (listen,) = table.join(2, -2, 0)
    assert (listen.pid, listen.frame.peer, listen.frame.address) == (1, 2, "/job/0000001.link")
    assert table.listening(1, 2, 0) == [Tell(2, Dial(1, "/job/0000001.link", 0, listen.frame.key))]


def test_a_process_whose_peer_died_before_listening_is_free_for_others():
    table = ConnectionBroker(sockets="/job")
    for pid in (1, 2, 3):
        table.join(pid, -pid, 0)
    table.want(1, 2)
    table.leave(1, 0.0)
    assert table.want(2, 3) == []
    (listen,) = table.tick(GRACE_S)
    assert (listen.pid, listen.frame.peer) == (2, 3)


def test_a_process_about_to_end_gets_no_new_connection():
    table = ConnectionBroker()
    table.join(1, -1, 0)
    table.join(2, -2, 0)
    table.retire(2)
    assert table.want(1, 2) == []


def test_hosts_that_could_not_be_connected_are_tried_by_all_addresses_and_the_other_way_round():
    broker = ConnectionBroker({"a": "10.0.0.1 10.9.0.1", "b": "10.0.0.2 10.9.0.2"}, b"secret")
    broker.join(1, 0, 0, "a")
    broker.join(2, 0, 1, "b")

    def fails(order):
        listener, peer = order.pid, order.frame.peer
        (dial,) = broker.listening(listener, peer, 7)
        assert dial.frame.address == order.frame.address
        (told,) = tells(broker.failed(peer, listener, 0.0))
        assert told == Tell(listener, Abandon(peer)), "it need not wait until it gives up by itself"
        assert broker.failed(listener, peer, 0.0) == [] and broker.tick(RETRY_S / 2) == []
        assert broker.deadline_s() == RETRY_S
        return broker.tick(RETRY_S)

    (first,) = broker.want(1, 2)
    (second,) = fails(first)
    (third,) = fails(second)
    assert [(it.pid, it.frame.address) for it in (first, second, third)] == [
        (1, "10.0.0.1"),
        (2, "10.0.0.2 10.9.0.2"),
        (1, "10.0.0.1 10.9.0.1"),
    ]
    assert broker.address_of("b") == "10.0.0.2"


def two_connected():
    broker = ConnectionBroker({"a": "10.0.0.1", "b": "10.0.0.2"}, b"secret")
    broker.join(1, 0, 0, "a")
    broker.join(2, 0, 1, "b")
    broker.want(1, 2)
    broker.listening(1, 2, 7)
    broker.up(1, 2)
    broker.up(2, 1)
    return broker


def test_a_socket_that_drops_is_replaced_once_whichever_end_reports_it():
    broker = two_connected()
    assert broker.dropped(2, 1, 5.0) == broker.dropped(1, 2, 5.01) == broker.tick(5.05) == []
    assert broker.deadline_s() == 5.0 + GRACE_S
    (listen,) = broker.tick(5.0 + GRACE_S)
    assert (listen.pid, listen.frame.peer) == (1, 2)
    assert broker.up(2, 1) == broker.up(1, 2) == broker.tick(99.0) == []


def test_a_socket_that_dropped_because_its_process_died_is_not_replaced():
    broker = two_connected()
    broker.dropped(1, 2, 5.0)
    broker.leave(2, 5.01)
    assert broker.tick(6.0) == [] and broker.deadline_s() is None
    assert broker.dropped(1, 2, 7.0) == []


def test_a_drop_that_is_reported_before_the_other_end_stands_is_seen_to():
    broker = two_connected()
    broker.dropped(1, 2, 5.0)
    (listen,) = broker.tick(6.0)
    broker.listening(1, 2, 7)
    broker.up(1, 2)
    assert broker.dropped(1, 2, 6.1) == broker.tick(7.0) == []
    (again,) = broker.up(2, 1)
    assert isinstance(again.frame, ListenFor) and again.frame.key != listen.frame.key


def test_who_is_about_to_end_gets_no_other_socket_and_its_peer_is_told():
    broker = two_connected()
    broker.dropped(1, 2, 5.0)
    assert broker.retire(2) == [Tell(1, ConnectionOver(2, ""))]
    assert broker.tick(6.0) == []
    broker = two_connected()
    assert broker.retire(2) == []
    assert broker.dropped(1, 2, 5.0) == [Tell(1, ConnectionOver(2, ""))]


def test_two_that_cannot_be_connected_again_for_long_are_told_that_it_is_over():
    broker = two_connected()
    broker.dropped(1, 2, 0.0)
    now_s, told, attempts = 0.0, [], 0
    while not told:
        now_s += 0.5
        assert now_s < 60
        for order in tells(broker.tick(now_s)):
            attempts += 1
            listener, peer = order.pid, order.frame.peer
            broker.listening(listener, peer, 7)
            broker.failed(peer, listener, now_s)
            told = tells(broker.failed(listener, peer, now_s))
    reason = "connection lost: a socket between a and b dropped; no other could be made for 8 s"
    assert told == [Tell(pid, ConnectionOver(3 - pid, reason)) for pid in (listener, peer)]
    assert PATIENCE_S <= now_s < PATIENCE_S + 2 and attempts > 10
    assert broker.tick(99.0) == [] and broker.deadline_s() is None
