"""The slots of a job: which start gets one, when more are made, and when they are given up."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmpi._core.job import slots
from cmpi._core.job.slots import Bind, FailStart, ForkInSlot, OrderSlot, Retire, SlotTable

FIRST = slots.FIRST


def ready(table, number):
    """Let an ordered slot come up, and its process join."""
    assert table.monitored(number) == []
    return table.joined(number)


def test_a_start_waits_for_the_slot_that_is_made_for_it():
    table = SlotTable()
    assert table.want(5, "h", 0.0) == [OrderSlot(FIRST, "h")]
    assert ready(table, FIRST) == [Bind(FIRST, 5)]


def test_an_idle_slot_is_reused_and_forks_first():
    table = SlotTable()
    table.want(5, "h", 0.0)
    ready(table, FIRST)
    assert table.idle(FIRST) == []
    assert table.want(6, "h", 0.0) == [ForkInSlot(FIRST)]
    assert table.joined(FIRST) == [Bind(FIRST, 6)]


def test_spares_are_made_once_it_is_quiet_and_as_many_as_there_were_starts():
    table = SlotTable()
    table.want(5, "h", 0.0)
    ready(table, FIRST)
    assert table.tick(0.0, room=True) == []
    assert table.tick(slots.QUIET_S, room=True) == [OrderSlot(FIRST + 1, "h")]
    ready(table, FIRST + 1)
    assert table.want(6, "h", 1.0) == [Bind(FIRST + 1, 6)]
    assert table.tick(2.0, room=True) == [OrderSlot(FIRST + 2, "h"), OrderSlot(FIRST + 3, "h")]


def test_no_spares_are_made_where_memory_is_short():
    table = SlotTable()
    table.want(5, "h", 0.0)
    assert table.tick(1.0, room=False) == []


def test_idle_slots_are_given_up_after_a_while():
    table, numbers = SlotTable(), [FIRST + n for n in range(8)]
    for n, number in enumerate(numbers):
        table.want(n, "h", 0.0)
        ready(table, number)
    for number in numbers:
        table.idle(number)
    later = slots.DEMAND_S
    assert table.tick(later, room=False) == [], "eight were needed at once in this time"
    assert table.tick(2 * later, room=False) == [], "and in the time before"
    assert table.tick(3 * later, room=False) == [Retire(number) for number in numbers[:6]]


def test_preloading_a_module_retires_existing_slots():
    table = SlotTable()
    for n in range(3):
        table.want(n, "h", 0.0)
    ready(table, FIRST)
    ready(table, FIRST + 1)
    table.idle(FIRST + 1)
    assert table.preloaded() == [OrderSlot(FIRST + 3, "h"), Retire(FIRST + 1)]
    assert table.idle(FIRST) == [Retire(FIRST)], "it ran meanwhile"
    assert table.monitored(FIRST + 2) == [Retire(FIRST + 2)], "it was ordered before"
    assert ready(table, FIRST + 3) == [Bind(FIRST + 3, 2)]


def test_starts_that_wait_for_a_fork_server_are_returned_when_it_ends():
    table = SlotTable()
    table.want(5, "h", 0.0)
    ready(table, FIRST)
    table.want(6, "h", 0.0)
    assert table.server_ended("h") == ([6], [])
    assert table.idle(FIRST) == [Retire(FIRST)]


def test_a_start_fails_when_no_slot_can_be_made_for_it():
    table = SlotTable()
    actions = table.want(5, "h", 0.0)
    for n in range(slots.MOST_REFUSALS):
        assert actions == [OrderSlot(FIRST + n, "h")]
        actions = table.gone(FIRST + n, "too many files")
    assert actions == [FailStart(5, "too many files")]


def test_a_start_fails_after_a_bounded_number_of_slot_failures():
    table, killed = SlotTable(), 0
    table.want(5, "h", 0.0)
    table.monitored(FIRST)
    actions = []
    while not any(isinstance(action, FailStart) for action in actions):
        actions = table.idle(FIRST)
        killed += 1
    assert killed == slots.MOST_FAILURES


def test_a_slot_that_could_not_fork_stays_and_the_start_fails_after_some_tries():
    table = SlotTable()
    table.want(5, "h", 0.0)
    ready(table, FIRST)
    table.idle(FIRST)
    actions = table.want(6, "h", 0.0)
    for _ in range(slots.MOST_REFUSALS - 1):
        assert actions == [ForkInSlot(FIRST)]
        actions = table.idle(FIRST, "no more")
    assert actions == [ForkInSlot(FIRST)] and table.idle(FIRST, "no more") == [FailStart(6, "no more")]
    assert table.want(7, "h", 0.0) == [ForkInSlot(FIRST)]
    assert table.joined(FIRST) == [Bind(FIRST, 7)]


def test_a_start_that_was_withdrawn_gets_no_slot():
    table = SlotTable()
    table.want(5, "h", 0.0)
    table.withdraw(5)
    assert ready(table, FIRST) == []
    assert table.want(6, "h", 0.0) == [Bind(FIRST, 6)]
    assert table.taken_again(FIRST) == [], "that one is not wanted either: the slot waits on"
    assert table.want(7, "h", 0.0) == [Bind(FIRST, 7)]


def test_all_slots_leave_at_the_end_and_none_is_ordered_afterwards():
    table = SlotTable()
    table.want(5, "h", 0.0)
    ready(table, FIRST)
    table.want(6, "h", 0.0)
    table.monitored(FIRST + 1)
    assert table.close() == [Retire(FIRST + 1)]
    assert table.idle(FIRST) == [Retire(FIRST)]
    assert table.tick(100.0, room=True) == []


def test_slots_leave_a_few_at_a_time():
    table, most = SlotTable(), slots.MOST_LEAVING
    numbers = range(FIRST, FIRST + most + 3)
    for number in numbers:
        table.want(number, "h", 0.0)
    for number in numbers:
        ready(table, number)
    for number in numbers:
        table.idle(number)
    assert table.close() == [Retire(number) for number in numbers[:most]]
    assert table.gone(numbers[-1]) == [], "it had not been told yet"
    assert table.gone(numbers[0]) == [Retire(numbers[most])]
    assert table.gone(numbers[most]) == [Retire(numbers[most + 1])]
    assert table.gone(numbers[most + 1]) == [] == table.gone(numbers[1])


class Life(RuleBasedStateMachine):
    """Starts, and slots that come up, die and become free, in any order: no start is forgotten."""

    def __init__(self):
        super().__init__()
        self.table, self.now_s, self.start = SlotTable(), 0.0, 0
        self.waiting, self.bound = {}, {}  # start: host; slot: start
        self.ordered, self.forking, self.ready, self.idle, self.leaving = set(), set(), set(), set(), set()

    def do(self, actions):
        for action in actions:
            match action:
                case OrderSlot(number, _):
                    self.ordered.add(number)
                case ForkInSlot(number):
                    self.idle.remove(number)
                    self.forking.add(number)
                case Bind(number, start):
                    self.ready.remove(number)
                    assert self.waiting.pop(start) == self.table.host(number)
                    self.bound[number] = start
                case FailStart(start, _):
                    del self.waiting[start]
                case Retire(number):
                    for kind in (self.ordered, self.forking, self.ready, self.idle):
                        kind.discard(number)
                    self.leaving.add(number)

    @rule(host=st.sampled_from("ab"))
    def want(self, host):
        self.start += 1
        self.waiting[self.start] = host
        self.do(self.table.want(self.start, host, self.now_s))

    @precondition(lambda self: self.ordered)
    @rule(data=st.data())
    def comes_up(self, data):
        number = data.draw(st.sampled_from(sorted(self.ordered)))
        self.ordered.remove(number)
        self.forking.add(number)
        self.do(self.table.monitored(number))

    @precondition(lambda self: self.forking)
    @rule(data=st.data())
    def joins(self, data):
        number = data.draw(st.sampled_from(sorted(self.forking)))
        self.forking.remove(number)
        self.ready.add(number)
        self.do(self.table.joined(number))

    @precondition(lambda self: self.bound)
    @rule(data=st.data(), died_unused=st.booleans())
    def comes_free(self, data, died_unused):
        unused = sorted(self.ready | self.forking) if died_unused else []
        number = data.draw(st.sampled_from(unused or sorted(self.bound)))
        self.bound.pop(number, None)
        self.ready.discard(number)
        self.forking.discard(number)
        self.idle.add(number)
        self.do(self.table.idle(number))

    @precondition(lambda self: self.ordered | self.forking | self.ready | self.idle | self.leaving)
    @rule(data=st.data(), reason=st.sampled_from(["", "refused"]))
    def is_gone(self, data, reason):
        kinds = (self.ordered, self.forking, self.ready, self.idle, self.leaving)
        number = data.draw(st.sampled_from(sorted(set().union(*kinds, self.bound))))
        for kind in kinds:
            kind.discard(number)
        self.bound.pop(number, None)
        self.do(self.table.gone(number, reason))
        assert self.table.host(number) is None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def is_withdrawn(self, data):
        start = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[start]
        self.table.withdraw(start)

    @rule()
    def preloads(self):
        self.do(self.table.preloaded())

    @rule(passed_s=st.sampled_from([slots.QUIET_S, slots.DEMAND_S]), room=st.booleans())
    def time_passes(self, passed_s, room):
        self.now_s += passed_s
        self.do(self.table.tick(self.now_s, room=room))
        deadline_s = self.table.deadline_s()
        assert deadline_s is None or deadline_s > self.now_s

    @invariant()
    def something_comes_for_each_that_waits_and_nothing_is_ready(self):
        for host in self.waiting.values():
            here = [number for number in self.ordered | self.forking if self.table.host(number) == host]
            assert len(here) >= list(self.waiting.values()).count(host)
            assert not any(self.table.host(number) == host for number in self.ready)


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=40)
