"""A channel's two machines with a network between them, under any interleaving."""

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmpi._core import channel as ch

SIZES = st.sampled_from([0, 1, 16, 64, 65, 1000])


class ChannelUnderAnyInterleaving(RuleBasedStateMachine):
    """Frames travel in two queues, in order, delivered whenever Hypothesis likes."""

    @initialize(window=st.sampled_from([64, 200]), messages=st.sampled_from([1, 4]))
    def start(self, window, messages):
        self.window, self.window_messages = window, messages
        self.out = ch.Outgoing(window, messages)
        self.inn = ch.Incoming(window, messages)
        self.there, self.back = deque(), deque()
        self.ticket = 0
        self.sizes = {}
        self.accepted, self.failed, self.withdrawn, self.received = [], [], set(), []
        self.transmitted = []
        self.fin_sent = False

    def _out(self, event):
        for action in self.out.handle(event):
            if isinstance(action, ch.Transmit):
                assert not self.fin_sent, "data follows the end mark"
                self.transmitted.append(action.ticket)
                self.there.append(action.ticket)
            elif isinstance(action, ch.TransmitFin):
                assert not self.fin_sent, "two end marks"
                self.fin_sent = True
                self.there.append("fin")
            else:
                self.failed.append(action.ticket)

    def _in(self, event):
        for action in self.inn.handle(event):
            if isinstance(action, ch.Deliver):
                self.received.append(action.message)
            elif isinstance(action, ch.GiveCredit):
                self.back.append(ch.CreditCame(action.nbytes, action.messages))
            else:
                self.back.append(ch.Dropped())

    @rule(size=SIZES)
    def send(self, size):
        self.ticket += 1
        self.sizes[self.ticket] = size
        room, state = self.out.room_for(size), self.out.state
        self._out(ch.Send(self.ticket, size))
        if state != "open":
            assert self.ticket in self.failed, "send after close is refused"
        elif room:
            assert self.ticket in self.transmitted, "there was room"
        self.accepted.append(self.ticket)

    @rule(data=st.data())
    def withdraw(self, data):
        waiting = [t for t in self.accepted if t not in self.transmitted and t not in self.failed]
        waiting = [t for t in waiting if t not in self.withdrawn]
        if waiting:
            ticket = data.draw(st.sampled_from(waiting))
            self.withdrawn.add(ticket)
            self._out(ch.Withdraw(ticket))

    @rule()
    def close_sender(self):
        self._out(ch.Close())

    @precondition(lambda self: self.there)
    @rule()
    def arrive(self):
        item = self.there.popleft()
        self._in(ch.FinArrived() if item == "fin" else ch.Arrived(item, self.sizes[item]))

    @precondition(lambda self: self.back)
    @rule()
    def credit_arrives(self):
        self._out(self.back.popleft())

    @rule()
    def take(self):
        self._in(ch.Take())

    @rule(really=st.sampled_from([False, False, False, True]))
    def close_receiver(self, really):
        if really:
            self._in(ch.Close())

    @invariant()
    def messages_arrive_once_and_in_order(self):
        assert self.received == self.transmitted[: len(self.received)]

    @invariant()
    def nothing_withdrawn_is_sent(self):
        assert self.withdrawn.isdisjoint(self.transmitted)

    @invariant()
    def unread_bytes_stay_within_the_window_or_one_message(self):
        flying = [t for t in self.there if t != "fin"]
        unread = self.inn.unread_bytes + sum(self.sizes[t] for t in flying)
        count = len(self.inn) + len(flying)
        assert unread <= self.window or count == 1
        assert count <= self.window_messages

    @invariant()
    def in_flight_is_what_was_sent_less_what_was_credited(self):
        if self.inn.state == "closed":
            return
        flying = [t for t in self.there if t != "fin"]
        returning = [c for c in self.back if isinstance(c, ch.CreditCame)]
        counted = len(self.inn) + len(flying) + sum(c.messages for c in returning)
        assert self.out.in_flight_messages == counted + self.inn._taken_messages

    def teardown(self):
        if not hasattr(self, "inn") or self.inn.state == "closed":
            return
        for _ in range(10_000):  # reading everything delivers everything
            if self.there:
                self.arrive()
            elif self.back:
                self.credit_arrives()
            elif len(self.inn):
                self.take()
            else:
                break
        wanted = [t for t in self.accepted if t not in self.withdrawn and t not in self.failed]
        assert self.received == wanted
        assert (self.inn.state == "ended") == (self.out.state == "closed")


TestChannelUnderAnyInterleaving = ChannelUnderAnyInterleaving.TestCase


def test_a_message_larger_than_the_window_goes_when_nothing_else_is_in_flight():
    out = ch.Outgoing(64, 4)
    assert out.handle(ch.Send(1, 10)) == [ch.Transmit(1)]
    assert out.handle(ch.Send(2, 1000)) == []
    assert out.handle(ch.CreditCame(10, 1)) == [ch.Transmit(2)]


def test_fin_travels_behind_messages_that_wait_for_credit():
    out = ch.Outgoing(64, 1)
    out.handle(ch.Send(1, 1))
    out.handle(ch.Send(2, 1))
    assert out.handle(ch.Close()) == []
    assert out.handle(ch.CreditCame(1, 1)) == [ch.Transmit(2), ch.TransmitFin()]


def test_a_dead_reader_fails_what_waits():
    out = ch.Outgoing(64, 1)
    out.handle(ch.Send(1, 1))
    out.handle(ch.Send(2, 1))
    assert out.handle(ch.Gone()) == [ch.Fail(2)]
    assert out.handle(ch.Send(3, 1)) == [ch.Fail(3)]


def test_what_arrived_is_read_before_the_end_is_seen():
    inn = ch.Incoming()
    inn.handle(ch.Arrived("a", 1))
    inn.handle(ch.Gone())
    assert inn.handle(ch.Take())[0] == ch.Deliver("a")
    assert inn.handle(ch.Take()) == []
    assert inn.state == "gone"


def test_statistics_tell_what_went_through():
    out, inn = ch.Outgoing(100, 4), ch.Incoming(100, 4)
    for ticket in range(1, 4):
        out.handle(ch.Send(ticket, 40))
    assert out.statistics == ch.Statistics(messages=2, nbytes=80, credit=20, waiting=1, peak=80)
    inn.handle(ch.Arrived("a", 40))
    inn.handle(ch.Arrived("b", 40))
    inn.handle(ch.Take())
    assert inn.statistics == ch.Statistics(messages=1, nbytes=40, credit=60, waiting=1, peak=80)
