"""The scheduler under any order of events."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from cmpi._base.units import CPU_UNIT
from cmpi._core.scheduling.host_room import Host, Submit
from cmpi._core.scheduling.scheduler import CancelRequest, Place, Refuse, Release, Scheduler
from cmpi._core.scheduling.shares import Share

SIZES = st.sampled_from([0, 1, 50, 100, 101])


class SchedulerUnderAnyOrder(RuleBasedStateMachine):
    placed = Bundle("placed")
    waiting = Bundle("waiting")

    def __init__(self):
        super().__init__()
        self.scheduler = Scheduler([Host("a", 100, 100), Host("b", 50, 200)])
        self.scheduler.bind(1, Share(100, 150))
        self.next = 0
        self.answers = {}
        self.asked = set()
        self.held, self.sizes = {}, {}
        self.hosts = {}
        self.ranks = []

    def _take(self, actions):
        for action in actions:
            assert action.ticket not in self.answers, "a request is answered twice"
            self.answers[action.ticket] = action
            if isinstance(action, Place):
                assert self.hosts[action.ticket] in ("", action.host), "placed on another host than asked"
                assert action.host in self.scheduler.hosts, "placed on a lost host"
                tickets = [action.ticket, *(place.ticket for place in action.more)]
                assert tickets == list(range(action.ticket, action.ticket + self.sizes[action.ticket]))
                self.held[action.ticket] = tickets

    @rule(
        target=placed,
        owner=st.integers(0, 2),
        cpus=SIZES,
        memory=SIZES,
        wait=st.booleans(),
        host=st.sampled_from(["", "", "a", "b", "c"]),
        near=st.sampled_from(["", "a", "c"]),
        pack=st.booleans(),
        n=st.sampled_from([1, 1, 2, 3]),
    )
    def submit(self, owner, cpus, memory, wait, host, near, pack, n):
        self.next += 3  # as many as a group may need
        self.asked.add(self.next)
        self.hosts[self.next], self.sizes[self.next] = host, n
        request = Submit(self.next, owner, cpus, memory, wait, False, host, near, pack, n, owner % 2)
        self._take(self.scheduler.handle(request))
        if not wait:
            assert self.next in self.answers, "a request that does not wait is answered at once"
        return self.next

    @rule(cpus=SIZES, memory=SIZES, host=st.sampled_from(["a", "b"]), party=st.integers(0, 1))
    def a_rank_takes_what_there_is(self, cpus, memory, host, party):
        self.next += 3
        self._take(self.scheduler.occupy(self.next, host, cpus, memory, party=party))
        self.ranks.append(self.next)

    @precondition(lambda self: "b" in self.scheduler.hosts)
    @rule(sometimes=st.integers(0, 9))
    def a_host_is_lost(self, sometimes):
        if sometimes == 0:
            self._take(self.scheduler.lose("b"))

    @rule(ticket=consumes(placed))
    def release_or_cancel(self, ticket):
        if ticket in self.held:
            for each in self.held.pop(ticket):
                self._take(self.scheduler.handle(Release(each)))
        elif ticket not in self.answers:
            self.answers[ticket] = None
            self._take(self.scheduler.handle(CancelRequest(ticket)))

    @invariant()
    def books_are_right(self):
        self.scheduler.validate()

    @invariant()
    def every_request_is_answered_or_waits(self):
        assert len(self.asked - self.answers.keys()) == self.scheduler.waiting

    def teardown(self):
        while waiting := self.asked - self.answers.keys():
            ticket = min(waiting)
            self.answers[ticket] = None
            self._take(self.scheduler.handle(CancelRequest(ticket)))
        for tickets in [self.ranks, *self.held.values()]:
            for ticket in tickets:
                self.scheduler.handle(Release(ticket))
        for host in self.scheduler.hosts.values():
            assert host.free_cpu_units == host.cpu_units, "all is free when all have left"
            assert host.free_memory_bytes == host.memory_bytes


TestSchedulerUnderAnyOrder = SchedulerUnderAnyOrder.TestCase


def test_owners_take_turns():
    scheduler = Scheduler([Host("a", 1, 100)])
    scheduler.handle(Submit(0, 9, 1, 0, True))
    for ticket in (1, 2, 3):
        scheduler.handle(Submit(ticket, 1, 1, 0, True))
    scheduler.handle(Submit(4, 2, 1, 0, True))
    order = []
    running = 0
    for _ in range(4):
        (place,) = scheduler.handle(Release(running))
        running = place.ticket
        order.append(running)
    assert order == [1, 4, 2, 3]


def test_a_large_request_is_not_overtaken_for_ever():
    scheduler = Scheduler([Host("a", 2, 100)])
    scheduler.handle(Submit(0, 1, 1, 0, True))
    scheduler.handle(Submit(1, 2, 2, 0, True))
    assert scheduler.handle(Submit(2, 3, 1, 0, True)) == []
    assert scheduler.handle(Release(0)) == [Place(1, "a")]


def test_a_request_larger_than_every_host_is_refused_at_once_with_the_largest():
    (refusal,) = Scheduler([Host("big", 65536, 1 << 30)]).handle(Submit(1, 0, 2 * 65536, 0, True))
    assert isinstance(refusal, Refuse) and refusal.never
    assert "big" in refusal.reason and "1 cpus and 1 GiB" in refusal.reason


def test_a_request_that_does_not_wait_does_not_overtake_those_that_do():
    scheduler = Scheduler([Host("a", 2, 100)])
    scheduler.handle(Submit(0, 1, 1, 0, True))
    scheduler.handle(Submit(1, 1, 2, 0, True))
    (refusal,) = scheduler.handle(Submit(2, 2, 1, 0, False))
    assert isinstance(refusal, Refuse) and not refusal.never


@pytest.mark.parametrize("cpus", [10, 1000])
def test_ranks_of_the_command_line_never_make_the_books_negative(cpus):
    scheduler = Scheduler([Host("a", 100, 100)])
    for ticket in range(5):
        scheduler.occupy(ticket, "a", cpus, cpus)
        scheduler.validate()


def test_whole_cores_are_bound_while_there_are_any_and_given_back():
    scheduler = Scheduler([Host("a", 4 * CPU_UNIT, 100, [3, 1, 7])])

    def place(ticket, cpu_units, bind=True):
        (action,) = scheduler.handle(Submit(ticket, 0, cpu_units, 0, True, bind))
        scheduler.validate()
        return action.cores

    assert place(1, 2 * CPU_UNIT) == (1, 3)
    assert place(2, CPU_UNIT // 2) == (), "a fraction is not bound"
    assert place(3, CPU_UNIT, bind=False) == ()
    scheduler.handle(Release(3))
    scheduler.handle(Release(1))
    assert place(4, 3 * CPU_UNIT) == (1, 3, 7)
    scheduler.handle(Release(4))
    scheduler.validate()


def test_hosts_are_filled_evenly_or_one_after_another_or_as_asked():
    def places(**hints):
        scheduler = Scheduler([Host("a", 4, 100), Host("b", 5, 100)])
        found = [scheduler.handle(Submit(i, 0, 1, 0, True, **hints))[0].host for i in range(4)]
        return "".join(found)

    assert places() == "baba"
    assert places(pack=True) == "aaaa"
    assert places(host="a") == "aaaa"
    assert places(near="a") == "aaaa"


def test_near_falls_back_to_another_host_and_host_waits_for_room():
    scheduler = Scheduler([Host("a", 1, 100), Host("b", 2, 100)])
    assert scheduler.handle(Submit(1, 0, 1, 0, True, near="a")) == [Place(1, "a")]
    assert scheduler.handle(Submit(2, 0, 1, 0, True, near="a")) == [Place(2, "b")]
    assert scheduler.handle(Submit(3, 0, 1, 0, True, host="a")) == []


def test_a_request_for_a_busy_host_does_not_block_requests_for_other_hosts():
    scheduler = Scheduler([Host("a", 1, 100), Host("b", 2, 100)])
    scheduler.handle(Submit(1, 1, 1, 0, True, host="a"))
    assert scheduler.handle(Submit(2, 1, 1, 0, True, host="a")) == []
    assert scheduler.handle(Submit(3, 2, 1, 0, True)) == [Place(3, "b")]
    assert scheduler.handle(Submit(4, 3, 2, 0, True)) == []  # a request for the whole of b
    assert scheduler.handle(Release(3)) == [Place(4, "b")]
    assert scheduler.handle(Release(1)) == [Place(2, "a")]


def test_a_group_is_placed_as_a_whole_or_not_at_all():
    scheduler = Scheduler([Host("a", 2, 100), Host("b", 1, 100)])
    scheduler.handle(Submit(1, 0, 1, 0, True, host="b"))
    assert scheduler.handle(Submit(2, 0, 1, 0, True, n=3)) == []
    assert scheduler.hosts["a"].free_cpu_units == 2
    (place,) = scheduler.handle(Release(1))
    assert [p.host for p in (place, *place.more)] == ["a", "a", "b"]
    assert [p.ticket for p in (place, *place.more)] == [2, 3, 4]
    (refusal,) = scheduler.handle(Submit(9, 0, 1, 0, True, n=4))
    assert refusal.never and "4 times" in refusal.reason and "together" in refusal.reason


def test_processes_that_hold_no_cpu_never_wait_for_one_and_spread_as_if_each_needed_one():
    scheduler = Scheduler([Host("a", 2 * CPU_UNIT, 100), Host("b", CPU_UNIT, 100)])
    for ticket in range(3):
        scheduler.handle(Submit(ticket, 0, CPU_UNIT, 0, True))
    places = [scheduler.handle(Submit(10 + i, 0, 0, 1, True))[0].host for i in range(6)]
    assert sorted(places) == ["a"] * 3 + ["b"] * 3, "all cores are held, and they go half and half"
    scheduler.validate()


def test_packed_processes_that_hold_no_cpu_fill_one_host_core_by_core():
    scheduler = Scheduler([Host("a", 2 * CPU_UNIT, 100), Host("b", 3 * CPU_UNIT, 100)])
    places = [scheduler.handle(Submit(i, 0, 0, 1, True, pack=True))[0].host for i in range(5)]
    assert "".join(places) == "aabbb"


def test_a_party_with_many_requests_delays_another_party_by_one_grant():
    scheduler = Scheduler([Host("a", 1, 0)])
    (held,) = scheduler.handle(Submit(0, 100, 1, 0, True, party=1))
    for ticket in range(1, 11):  # ten processes of one party
        assert scheduler.handle(Submit(ticket, 100 + ticket, 1, 0, True, party=1)) == []
    for ticket in range(20, 23):  # and one process of another party, which asks for three
        assert scheduler.handle(Submit(ticket, 200, 1, 0, True, party=2)) == []
    order = [held.ticket]
    while scheduler.waiting:
        (place,) = scheduler.handle(Release(order[-1]))
        order.append(place.ticket)
    assert order == [0, 1, 20, 2, 21, 3, 22, 4, 5, 6, 7, 8, 9, 10]


def test_a_party_at_its_bound_waits_while_other_parties_overtake_it():
    scheduler = Scheduler([Host("a", 4 * CPU_UNIT, 100)])
    scheduler.bind(1, Share(2 * CPU_UNIT, 50))
    scheduler.occupy(0, "a", 3 * CPU_UNIT, 10, party=1)  # gets the two
    assert scheduler.share(1).held_cpu_units == 2 * CPU_UNIT
    assert scheduler.handle(Submit(1, 9, CPU_UNIT, 0, True, party=1)) == []
    assert scheduler.handle(Submit(2, 8, 0, 0, True, party=1)) == [], "it does not overtake its own"
    (refused,) = scheduler.handle(Submit(3, 7, 0, 0, False, party=1))
    assert not refused.never
    assert scheduler.handle(Submit(4, 6, CPU_UNIT, 0, True, party=2)) == [Place(4, "a")]
    assert scheduler.handle(Submit(5, 6, CPU_UNIT, 0, False, party=2)) == [Place(5, "a")]
    assert scheduler.handle(Release(4)) == []
    assert scheduler.handle(Release(0)) == [Place(1, "a"), Place(2, "a")]
    scheduler.validate()
    scheduler.handle(Release(1))
    (refused,) = scheduler.handle(Submit(6, 9, CPU_UNIT, 10, True, n=3, party=1))
    assert refused.never and "3 times 1 cpus" in refused.reason
    assert "this deployment may use 2 cpus and 50 B together" in refused.reason, refused
    scheduler.unbind(1)
    assert scheduler.handle(Submit(7, 9, CPU_UNIT, 10, True, n=3, party=1))
