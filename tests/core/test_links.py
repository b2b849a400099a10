"""The matchmaker: processes that join, want links, report and die, in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmpi._core import frames, helper_frames, host_frames
from cmpi._core.links import GRACE_S, Ask, LinkTable, Tell

PIDS = st.integers(1, 5)


class LinksUnderAnyOrder(RuleBasedStateMachine):
    """Plays the processes' linkers: one order at a time, both halves needed, or the usher."""

    @initialize(sockets=st.booleans())
    def start(self, sockets):
        self.table = LinkTable(sockets="/job")
        self.sockets, self.now = sockets, 0.0
        self.silent = set()  # those that are to listen, and have not said that they do
        self.alive, self.joined = {1, 2, 3, 4, 5}, set()
        self.orders = {}  # pid: (peer, accepts)
        self.released = {}  # pid: how often the usher comes to it
        self.wanted, self.up = set(), set()

    def _do(self, actions):
        for action in actions:
            if isinstance(action, Ask):
                frame = action.frame
                port = int(frame.port)
                if isinstance(frame, helper_frames.ConnectAndLeave):
                    assert port in self.orders, "the usher connects to somebody who does not accept"
                    self.released[port] = True
                else:
                    waiting = [p for p, (peer, accepts) in self.orders.items() if peer == port]
                    assert waiting and port not in self.alive
                    self.released[waiting[0]] = True
            elif isinstance(action, Tell):
                self._told(action.pid, action.frame)

    def _told(self, pid, frame):
        if isinstance(frame, frames.Abandon):
            peer, _ = self.orders[pid]
            assert peer == frame.peer and peer not in self.alive
            if self.sockets:
                self.gives_up(pid)
                return
            self._do(self.table.stuck(pid, peer))
            assert self.released.pop(pid), "the stuck are released"
            del self.orders[pid]
            self._do(self.table.failed(pid, peer))
        else:
            assert pid in self.alive and pid not in self.orders, "two links at once in one process"
            self.orders[pid] = (frame.peer, isinstance(frame, frames.AcceptFrom))
            if isinstance(frame, host_frames.ListenFor):
                self.silent.add(pid)
            assert self.sockets == isinstance(frame, (host_frames.ListenFor, host_frames.Dial))

    @rule(pid=PIDS)
    def join(self, pid):
        if pid in self.alive and pid not in self.joined:
            self.joined.add(pid)
            self._do(self.table.join(pid, "" if self.sockets else str(pid), -pid, 0))

    @rule(pid=PIDS, peer=PIDS)
    def want(self, pid, peer):
        if pid in self.joined & self.alive and peer in self.alive and pid != peer:
            self.wanted.add((min(pid, peer), max(pid, peer)))
            self._do(self.table.want(pid, peer))

    @precondition(lambda self: self.orders)
    @rule(pid=PIDS)
    def link_is_made(self, pid):
        if pid in self.orders:
            peer, _ = self.orders[pid]
            if self.orders.get(peer, (None,))[0] == pid:
                for one, other in ((pid, peer), (peer, pid)):
                    del self.orders[one]
                    self._do(self.table.up(one, other))
                self.up.add((min(pid, peer), max(pid, peer)))

    @precondition(lambda self: self.silent)
    @rule(pid=PIDS)
    def listens(self, pid):
        if pid in self.silent:
            self.silent.discard(pid)
            self._do(self.table.listening(pid, self.orders[pid][0], 0))

    @precondition(lambda self: self.sockets and self.orders)
    @rule(pid=PIDS)
    def gives_up(self, pid):
        """By a socket it need not wait for ever."""
        if self.sockets and pid in self.orders:
            self.silent.discard(pid)
            peer, _ = self.orders.pop(pid)
            self._do(self.table.failed(pid, peer))

    @rule(pid=PIDS)
    def dies(self, pid):
        if pid in self.alive:
            self.alive.discard(pid)
            self.joined.discard(pid)
            self.orders.pop(pid, None)
            self.silent.discard(pid)
            self.table.leave(pid, self.now)

    @rule()
    def time_passes(self):
        self.now += GRACE_S
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
                if self.orders.get(pid, (pid,))[0] not in self.orders:
                    self.gives_up(pid)  # the other has
        living = {pair for pair in self.wanted if set(pair) <= self.alive}
        assert living <= self.up, "a wanted link between the living is made in the end"
        assert not self.orders, "nobody is left waiting in MPI"


TestLinksUnderAnyOrder = LinksUnderAnyOrder.TestCase
TestLinksUnderAnyOrder.settings = settings(max_examples=4 * settings.default.max_examples)


def test_ranks_of_one_world_make_a_group():
    table = LinkTable()
    table.join(7, "p7", 0, 3)
    table.join(9, "p9", 0, 1)
    assert table.want(9, 7) == [Tell(7, frames.GroupWith(9, 1)), Tell(9, frames.GroupWith(7, 3))]


def test_a_link_wanted_before_the_peer_has_joined_is_made_when_it_does():
    table = LinkTable()
    table.join(1, "p1", -1, 0)
    assert table.want(1, 2) == []
    assert table.join(2, "p2", -2, 0) == [Tell(1, frames.AcceptFrom(2)), Tell(2, frames.ConnectTo(1, "p1"))]


def test_a_connect_that_gave_up_has_its_acceptor_released_and_is_tried_again():
    table = LinkTable()
    table.join(1, "p1", -1, 0)
    table.join(2, "p2", -2, 0)
    table.want(1, 2)
    assert table.failed(2, 1) == [Ask("", helper_frames.ConnectAndLeave("p1", True))]
    again = table.failed(1, 2)
    assert again == [Tell(1, frames.AcceptFrom(2)), Tell(2, frames.ConnectTo(1, "p1"))]


def test_a_process_about_to_end_gets_no_new_link():
    table = LinkTable()
    table.join(1, "p1", -1, 0)
    table.join(2, "p2", -2, 0)
    table.retire(2)
    assert table.want(1, 2) == []
