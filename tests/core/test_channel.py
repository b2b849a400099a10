"""A channel's two machines with a network between them, under any interleaving."""

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmpi._core.channel import channel as ch

SIZES = st.sampled_from([0, 1, 16, 64, 65, 1000])


class ChannelUnderAnyInterleaving(RuleBasedStateMachine):
    """Frames travel in two queues, in order, and are delivered whenever Hypothesis decides."""

    @initialize(window=st.sampled_from([64, 200]), messages=st.sampled_from([1, 4]))
    def start(self, window, messages):
        self.window, self.window_messages = window, messages
        self.out = ch.Outgoing(window, messages)
        self.inn = ch.Incoming(window, messages)
        self.there, self.back = deque(), deque()
        self.ticket = 0
        self.sizes = {}
        self.waiting = None  # the size of the message that the owner waits to send
        self.transmitted, self.received = [], []
        self.fin_sent = False
        self.aborted = False  # the sender's owner abandoned it while it was open
        self.reader_aborted = False

    def _out(self, event):
        for action in self.out.handle(event):
            if isinstance(action, ch.TransmitFin):
                assert not self.fin_sent, "two end marks"
                self.fin_sent = True
                self.there.append("fin")
            elif isinstance(action, ch.TransmitAbort):
                assert not self.fin_sent, "two end marks"
                self.fin_sent = True
                self.there.append(ch.AbortArrived(action.cause))
            else:
                assert not self.fin_sent, "credit is asked for behind the end mark"
                assert self.waiting is not None, "credit is asked for, and nobody waits"
                self.there.append("ask")

    def _in(self, actions):
        for action in actions:
            if isinstance(action, ch.GiveCredit):
                assert action.messages, "credit for nothing"
                self.back.append(ch.CreditCame(action.nbytes, action.messages))
            elif isinstance(action, ch.TellAborted):
                self.back.append(ch.ReaderAborted(action.cause))
            else:
                self.back.append(ch.ReaderClosed())

    def _send(self, size):
        """Send a message if it may go now."""
        room, state = self.out.room_for(size), self.out.state
        if not self.out.admit(size):
            assert not room or state != "open"
            return False
        assert not self.fin_sent, "data follows the end mark"
        assert room and state == "open", "send after close is refused"
        self.ticket += 1
        self.sizes[self.ticket] = size
        self.transmitted.append(self.ticket)
        self.there.append(self.ticket)
        return True

    @precondition(lambda self: self.waiting is None)
    @rule(size=SIZES)
    def send(self, size):
        if not self._send(size):
            self.waiting = size
            self._out(ch.AwaitRoom(size))

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def send_what_waits(self):
        if self._send(self.waiting):
            self.waiting = None

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def give_up_waiting(self):
        self.waiting = None
        self._out(ch.StopWaiting())

    @rule()
    def close_sender(self):
        self._out(ch.Close())

    @rule(really=st.sampled_from([False, False, True]))
    def abort_sender(self, really):
        if really:
            self.aborted |= self.out.state == "open"
            self._out(ch.Abort("sender's cause"))

    @precondition(lambda self: self.there)
    @rule()
    def arrive(self):
        item = self.there.popleft()
        if isinstance(item, ch.AbortArrived):
            self._in(self.inn.handle(item))
        elif item == "fin":
            self._in(self.inn.handle(ch.FinArrived()))
        elif item == "ask":
            self._in(self.inn.handle(ch.CreditAsked()))
        else:
            self.inn.arrived(item, self.sizes[item])

    @precondition(lambda self: self.back)
    @rule()
    def credit_arrives(self):
        self._out(self.back.popleft())

    def _take(self):
        message, due = self.inn.take()
        if message is not None:
            self.received.append(message)
        if due:
            self._in(self.inn.give_credit())
        return message

    @rule()
    def take(self):
        self._take()

    @rule()
    def take_and_put_back(self):
        message = self._take()
        if message is not None:
            self.inn.put_back(message, self.sizes[message])
            self.received.pop()

    @rule(really=st.sampled_from([False, False, False, True]))
    def close_receiver(self, really):
        if really:
            self._in(self.inn.handle(ch.Close()))

    @rule(really=st.sampled_from([False, False, False, True]))
    def abort_receiver(self, really):
        if really:
            self.reader_aborted |= self.inn.state == "open"
            self._in(self.inn.handle(ch.Abort("reader's cause")))

    @invariant()
    def an_aborted_sender_never_looks_like_one_that_was_closed(self):
        if self.aborted:
            assert self.inn.state != "ended"
            assert self.inn.state != "failed" or self.inn.cause == "sender's cause"
        else:
            assert self.inn.state != "failed"

    @invariant()
    def an_aborted_receiver_never_looks_like_one_that_was_closed(self):
        if self.reader_aborted:
            assert self.out.state != "dropped"
            assert self.out.state != "failed" or self.out.cause == "reader's cause"
        else:
            assert self.out.state != "failed"

    @invariant()
    def messages_arrive_once_and_in_order(self):
        assert self.received == self.transmitted[: len(self.received)]

    @invariant()
    def unread_bytes_stay_within_the_window_or_one_message(self):
        flying = [t for t in self.there if isinstance(t, int)]
        # A message that was put back after credit was given for it.
        returned = 1 if self.inn.read_messages < self.inn._credited_messages else 0
        unread = self.inn.unread_bytes + sum(self.sizes[t] for t in flying)
        count = len(self.inn) + len(flying)
        assert unread <= self.window or count == 1 or returned
        assert count <= self.window_messages + returned

    @invariant()
    def in_flight_is_what_was_sent_less_what_was_credited(self):
        if self.inn.state == "closed":
            return
        flying = [t for t in self.there if isinstance(t, int)]
        returning = [c for c in self.back if isinstance(c, ch.CreditCame)]
        counted = len(self.inn) + len(flying) + sum(c.messages for c in returning)
        assert self.out.in_flight_messages == counted + self.inn.read_messages - self.inn._credited_messages

    def teardown(self):
        if not hasattr(self, "inn") or self.inn.state == "closed":
            return
        # Reading everything delivers everything, and makes room for waiting messages.
        for _ in range(10_000):
            if self.there:
                self.arrive()
            elif self.back:
                self.credit_arrives()
            elif len(self.inn):
                self.take()
            elif self.waiting is not None and self.out.state == "open":
                assert self.out.room_for(self.waiting), "a message that waits is never sent"
                self.send_what_waits()
            else:
                break
        assert self.received == self.transmitted
        assert (self.inn.state == "ended") == (self.out.state == "closed" and not self.aborted)
        assert (self.inn.state == "failed") == self.aborted


TestChannelUnderAnyInterleaving = ChannelUnderAnyInterleaving.TestCase


def fill(out, *sizes):
    """Send each message for which there is room; wait for room for the first one for which there is
    none."""
    for size in sizes:
        if not out.admit(size):
            return out.handle(ch.AwaitRoom(size))
    return []


def test_a_message_larger_than_the_window_goes_when_nothing_else_is_in_flight():
    out = ch.Outgoing(64, 4)
    assert fill(out, 10, 1000) == [ch.RequestCredit()]
    assert not out.room_for(1000)
    assert out.handle(ch.CreditCame(10, 1)) == []
    assert out.admit(1000)


def test_a_sender_that_still_waits_after_credit_came_asks_again():
    out = ch.Outgoing(64, 4)
    assert fill(out, 10, 10, 1000) == [ch.RequestCredit()]
    assert out.handle(ch.CreditCame(10, 1)) == [ch.RequestCredit()]


def test_a_sender_that_stopped_waiting_asks_for_nothing():
    out = ch.Outgoing(64, 4)
    fill(out, 10, 10, 1000)
    assert out.handle(ch.StopWaiting()) == []
    assert out.handle(ch.CreditCame(10, 1)) == []


def test_the_end_mark_is_sent_at_once_even_if_a_message_waits():
    out = ch.Outgoing(64, 1)
    fill(out, 1, 1)
    assert out.handle(ch.Close()) == [ch.TransmitFin()]
    assert not out.admit(1)


def test_nothing_is_admitted_for_a_dead_reader():
    out = ch.Outgoing(64, 1)
    fill(out, 1, 1)
    assert out.handle(ch.Gone()) == []
    assert not out.admit(1)
    assert out.handle(ch.AwaitRoom(1)) == []


def test_nothing_follows_an_abort():
    out = ch.Outgoing(64, 1)
    fill(out, 1, 1)
    assert out.handle(ch.Abort("why")) == [ch.TransmitAbort("why")]
    assert out.handle(ch.Close()) == []
    assert not out.admit(1)


def test_a_message_that_was_put_back_is_taken_again_and_credited_once():
    inn = ch.Incoming(1000, 4)
    inn.arrived("a", 1)
    inn.arrived("b", 1)
    assert inn.take() == ("a", True)
    assert inn.give_credit() == [ch.GiveCredit(1, 1)]
    inn.put_back("a", 1)
    assert (len(inn), inn.unread_bytes, inn.statistics.messages) == (2, 2, 0)
    assert inn.take() == ("a", False)
    assert inn.give_credit() == []
    assert inn.take() == ("b", True)
    assert inn.give_credit() == [ch.GiveCredit(1, 1)]


def test_an_abort_after_a_close_changes_nothing():
    out = ch.Outgoing()
    assert out.handle(ch.Close()) == [ch.TransmitFin()]
    assert out.handle(ch.Abort("too late")) == []


def test_messages_that_arrived_are_read_before_an_abort():
    inn = ch.Incoming()
    inn.arrived("a", 1)
    inn.handle(ch.AbortArrived("why"))
    inn.handle(ch.Gone())
    assert inn.take()[0] == "a"
    assert (inn.take()[0], inn.state, inn.cause) == (None, "failed", "why")


def test_messages_that_arrived_are_read_before_the_end():
    inn = ch.Incoming()
    inn.arrived("a", 1)
    inn.handle(ch.Gone())
    assert inn.take()[0] == "a"
    assert inn.take()[0] is None
    assert inn.state == "gone"


def test_a_reader_grants_credit_by_quarters_and_on_request_once_it_has_read_everything():
    inn = ch.Incoming(1000, 100)
    for _ in range(27):
        inn.arrived("m", 1)
    assert [inn.take()[1] for _ in range(25)] == [False] * 24 + [True]
    assert inn.give_credit() == [ch.GiveCredit(25, 25)]
    assert inn.handle(ch.CreditAsked()) == []
    assert inn.take() == ("m", False)
    assert inn.take() == ("m", True)


def test_statistics_count_messages_and_bytes():
    out, inn = ch.Outgoing(100, 4), ch.Incoming(100, 4)
    fill(out, 40, 40, 40)
    assert out.statistics == ch.Statistics(
        messages=2, nbytes=80, credit=20, credit_messages=2, waiting=1, peak=80
    )
    inn.arrived("a", 40)
    inn.arrived("b", 40)
    inn.take()
    assert inn.statistics == ch.Statistics(
        messages=1, nbytes=40, credit=60, credit_messages=3, waiting=1, peak=80
    )


def test_statistics_show_no_bytes_of_credit_where_only_messages_are_bounded():
    out, inn = ch.Outgoing(ch.UNBOUNDED_BYTES, 4), ch.Incoming(ch.UNBOUNDED_BYTES, 4)
    fill(out, 40)
    inn.arrived("a", 40)
    assert (out.statistics.credit, out.statistics.credit_messages) == (None, 3)
    assert (inn.statistics.credit, inn.statistics.credit_messages) == (None, 3)
