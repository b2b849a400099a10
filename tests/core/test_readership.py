"""The readership of a socket: whatever threads do, input never goes unnoticed."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmpi._core.channel.readership import Readership

THREADS = st.integers(0, 2)


class InputUnderAnyInterleaving(RuleBasedStateMachine):
    """Three threads that wait for input from one socket, and the progress thread; they act as in
    `socket_waits` and `progress_loop`. Each rule is what one of them does with the lock held, or while it
    sleeps.

    The model is the kernel: input that has arrived and was not read, and which thread would be woken for it
    or looks soon.
    """

    @initialize()
    def start(self):
        self.readership, self.unread = Readership(), False
        self.waits = {0: [], 1: [], 2: []}  # by thread, the innermost last
        self.polls = set()  # waits that sleep on the socket, too
        self.in_handler = set()  # threads that are running a signal handler or a finalizer
        self.pause_s = 2.0  # of the progress thread
        self.connect()

    def connect(self):
        self.readership.opened()

    @rule()
    def something_comes(self):
        if self.readership.open:
            self.unread = True

    @precondition(lambda self: not self.readership.open)
    @rule()
    def a_connection_stands(self):
        self.connect()

    @rule()
    def the_socket_is_closed(self):
        self.readership.closed()
        self.unread = False
        self.polls.clear()  # threads that sleep on it are released

    @rule(thread=THREADS)
    def a_thread_waits(self, thread):
        if self.waits[thread] and thread not in self.in_handler:
            return  # it is sleeping
        outer = self.waits[thread][-1] if self.waits[thread] else None
        if outer is not None:
            self.readership.give_up(outer)
        wait = object()
        self.waits[thread].append(wait)
        self.in_handler.discard(thread)
        self.sleep(wait)

    def sleep(self, wait):
        if self.readership.claim(wait):
            self.polls.add(wait)

    @rule(thread=THREADS)
    def a_wait_is_woken_and_goes_on(self, thread):
        if self.waits[thread] and thread not in self.in_handler:
            wait = self.waits[thread][-1]
            if wait in self.polls and self.unread:
                self.unread = False
                self.readership.has_read()
            self.sleep(wait)

    @rule(thread=THREADS)
    def a_wait_ends(self, thread):  # or it is cut short by an exception, even one from a handler
        if self.waits[thread]:
            wait = self.waits[thread].pop()
            self.readership.give_up(wait)
            self.polls.discard(wait)
            self.in_handler.discard(thread)
            if self.waits[thread]:
                self.in_handler.add(thread)  # in which it had waited

    @rule(thread=THREADS)
    def a_handler_runs(self, thread):
        if self.waits[thread]:
            self.readership.give_up(self.waits[thread][-1])
            self.in_handler.add(thread)

    @rule(thread=THREADS)
    def a_handler_returns(self, thread):  # into the sleep that it was in before
        self.in_handler.discard(thread)

    @rule(came=st.booleans())
    def a_thread_looks(self, came):  # it has the lock from the first look to the last
        if self.readership.claim(self):
            if came or self.unread:
                self.readership.has_read()
            self.unread = False
            self.readership.give_up(self)

    @rule()
    def a_thread_rests(self):
        self.readership.rest()

    @rule()
    def the_progress_thread_looks(self):
        self.unread = False
        self.readership.looked()
        self.pause_s = 0.001 if self.readership.paced else 2.0

    @invariant()
    def what_came_wakes_somebody_or_is_looked_for(self):
        if not self.unread:
            return
        sleeping = {
            waits[-1] for thread, waits in self.waits.items() if waits and thread not in self.in_handler
        }
        assert (
            self.readership.watched
            or (self.readership.claimant in sleeping & self.polls)
            or (self.readership.claimant is None and self.readership.paced and self.pause_s <= 0.001)
        )

    @invariant()
    def at_most_one_reader_is_woken(self):
        readership = self.readership
        assert not (readership.watched and readership.claimant is not None)
        assert readership.open or not (readership.watched or readership.paced or readership.claimant)


InputUnderAnyInterleaving.TestCase.settings = settings(
    max_examples=300, stateful_step_count=30, deadline=None
)
TestInputUnderAnyInterleaving = InputUnderAnyInterleaving.TestCase


def test_the_progress_thread_is_left_asleep_as_long_as_a_thread_comes_back():
    readership = Readership()
    readership.opened()
    assert readership.watched
    for _ in range(3):
        assert readership.claim("wait") and not readership.watched
        readership.has_read()
        readership.give_up("wait")
        readership.looked()
        assert readership.paced and not readership.watched
    readership.looked()
    assert readership.watched and not readership.paced


def test_a_thread_that_waits_without_reading_wakes_the_progress_thread_at_once():
    readership = Readership()
    readership.opened()
    readership.has_read()
    readership.looked()
    readership.rest()
    assert readership.watched


def test_only_one_thread_claims_a_socket_and_releases_its_own_claim():
    readership = Readership()
    assert not readership.claim("a")
    readership.opened()
    assert readership.claim("a") and readership.claim("a") and not readership.claim("b")
    readership.give_up("b")
    assert readership.claimant == "a"
    readership.closed()
    readership.opened()
    assert readership.watched
