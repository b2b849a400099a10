"""A supervisor's decisions; each promise of OTP's documentation has a test of that name."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmpi._core.supervisor import (
    ENDED,
    RESTARTING,
    RESTARTS,
    STOPPING,
    STRATEGIES,
    Done,
    StartChild,
    StopChild,
    Supervisor,
)


class Player:
    """Carries out the machine's actions, and keeps a log of them."""

    def __init__(
        self, restarts, strategy="one_for_one", most=3, within=5.0, backoff=(0.1, 1.0), dynamic=False
    ):
        shutdown = [2.0] * len(restarts)
        self.machine = Supervisor(restarts, shutdown, strategy, most, within, backoff, dynamic=dynamic)
        self.up, self.log, self.now, self.done = set(), [], 0.0, False
        self._do(self.machine.begin())

    def _do(self, actions):
        for action in actions:
            if isinstance(action, StartChild):
                assert action.child not in self.up
                self.up.add(action.child)
                self.log.append(f"+{action.child}")
            elif isinstance(action, StopChild):
                assert action.child in self.up
                self.log.append(f"{'!' if action.now else '-'}{action.child}")
            elif isinstance(action, Done):
                assert not self.done and not self.up
                self.done = True

    def ends(self, child, normally=False):
        self.up.discard(child)
        self._do(self.machine.ended(child, self.now, normally=normally))

    def terminate(self, child):
        self._do(self.machine.terminate(child, self.now))

    def wait(self, seconds):
        self.now += seconds
        self._do(self.machine.tick(self.now))

    def take_log(self):
        log, self.log = " ".join(self.log), []
        return log


def test_children_are_started_in_their_order():
    assert Player(["permanent"] * 3).take_log() == "+0 +1 +2"


def test_permanent_is_always_restarted_transient_after_a_failure_temporary_never():
    p = Player(["permanent", "transient", "temporary"], most=9)
    p.take_log()
    for child, normally in ((0, True), (1, True), (2, False)):
        p.ends(child, normally)
    p.wait(1)
    assert p.take_log() == "+0"
    p = Player(["permanent", "transient", "temporary"], most=9)
    p.take_log()
    p.ends(1)
    assert p.take_log() == "+1"


def test_one_for_all_stops_the_others_in_reverse_order_one_after_another_and_starts_all():
    p = Player(["permanent"] * 3, "one_for_all")
    p.take_log()
    p.ends(0)
    assert p.take_log() == "-2"
    p.ends(2)
    assert p.take_log() == "-1"
    p.ends(1)
    assert p.take_log() == "+0 +1 +2"


def test_rest_for_one_leaves_those_before_it_alone():
    p = Player(["permanent"] * 3, "rest_for_one")
    p.take_log()
    p.ends(1)
    assert p.take_log() == "-2"
    p.ends(2)
    assert p.take_log() == "+1 +2"


def test_a_temporary_child_that_is_stopped_with_its_siblings_stays_away():
    p = Player(["permanent", "temporary"], "one_for_all")
    p.take_log()
    p.ends(0)
    p.ends(1, normally=True)
    assert p.take_log() == "-1 +0"


def test_one_restart_more_than_allowed_stops_all_and_gives_up():
    p = Player(["permanent"] * 2, most=2, within=5.0, backoff=(0.0, 0.0))
    p.take_log()
    p.ends(0)
    p.ends(0)
    assert p.take_log() == "+0 +0" and not p.machine.gave_up
    p.ends(0)
    assert p.machine.gave_up and p.take_log() == "-1"
    p.ends(1)
    assert p.done


def test_restarts_outside_the_period_do_not_count():
    p = Player(["permanent"], most=1, within=5.0)
    for _ in range(9):
        p.ends(0)
        p.wait(5.0)
    assert not p.machine.gave_up and p.machine.counts == [9]


def test_a_child_that_exceeds_its_shutdown_time_is_killed():
    p = Player(["permanent"] * 2, "one_for_all")
    p.take_log()
    p.ends(0)
    p.wait(1.9)
    assert p.take_log() == "-1"
    p.wait(0.2)
    assert p.take_log() == "!1"


def test_the_second_restart_waits_and_each_further_one_twice_as_long():
    p = Player(["permanent"], most=9, within=60.0, backoff=(0.5, 1.5))
    waits = []
    for _ in range(5):
        p.ends(0)
        due = p.machine.deadline_s()
        waits.append(0.0 if due is None else round(due - p.now, 3))
        p.wait(waits[-1])
    assert waits == [0.0, 0.5, 1.0, 1.5, 1.5]


def test_a_supervisor_without_children_left_is_done():
    p = Player(["transient", "temporary"])
    p.ends(0, normally=True)
    assert not p.done
    p.ends(1)
    assert p.done and not p.machine.gave_up


def test_a_dynamic_supervisor_goes_on_without_children_until_it_is_closed():
    p = Player([], dynamic=True)
    assert not p.done
    child = p.machine.join("temporary", 1.0)
    p.up.add(child)
    p.ends(child)
    assert not p.done and p.machine.state(child) == ENDED
    p._do(p.machine.close(p.now))
    assert p.done


def test_a_child_that_joins_is_the_last_in_the_order():
    p = Player(["permanent"] * 2, "rest_for_one")
    p.up.add(p.machine.join("permanent", 1.0))
    p.take_log()
    p.ends(0)
    assert p.take_log() == "-2"
    p.ends(2)
    p.ends(1)
    assert p.take_log() == "-1 +0 +1 +2"


def test_a_child_stopped_on_request_stays_stopped_until_it_is_started_on_request():
    p = Player(["permanent"] * 2, "one_for_all")
    p.take_log()
    p.terminate(1)
    assert p.take_log() == "-1" and p.machine.state(1) == STOPPING
    p.ends(1)
    assert p.machine.state(1) == ENDED
    p.ends(0)
    assert p.take_log() == "+0", "not even with its siblings"
    p.machine.back(1)
    p.up.add(1)
    p.ends(0)
    assert p.take_log() == "-1" and p.machine.counts == [2, 1], "now it goes with its siblings again"


def test_a_child_that_waits_for_its_restart_can_be_stopped_too():
    p = Player(["permanent", "permanent"], most=9, within=60.0, backoff=(1.0, 1.0))
    for _ in range(2):
        p.ends(0)
    assert p.machine.state(0) == RESTARTING
    p.terminate(0)
    p.wait(5)
    assert p.machine.state(0) == ENDED and p.up == {1}


class SupervisorUnderAnyOrder(RuleBasedStateMachine):
    """Whichever child ends when, a child is started only when it is not running, and closing leaves none
    running."""

    @initialize(
        restarts=st.lists(st.sampled_from(RESTARTS), min_size=1, max_size=4),
        strategy=st.sampled_from(STRATEGIES),
        most=st.integers(0, 3),
        dynamic=st.booleans(),
    )
    def start(self, restarts, strategy, most, dynamic):
        self.p = Player(restarts, strategy, most, dynamic=dynamic)

    @rule(child=st.integers(0, 5), normally=st.booleans())
    def ends(self, child, normally):
        if child in self.p.up:
            self.p.ends(child, normally)

    @rule(restart=st.sampled_from(RESTARTS))
    def one_joins(self, restart):
        if not self.p.done and not self.p.machine.closing and len(self.p.machine.counts) < 6:
            self.p.up.add(self.p.machine.join(restart, 2.0))

    @rule(child=st.integers(0, 5))
    def one_is_terminated(self, child):
        if not self.p.machine.closing and child < len(self.p.machine.counts):
            self.p.terminate(child)

    @rule(child=st.integers(0, 5))
    def one_is_started_again(self, child):
        machine = self.p.machine
        open_ = not self.p.done and not machine.closing and child < len(machine.counts)
        if open_ and machine.state(child) == ENDED:
            machine.back(child)
            self.p.up.add(child)

    @rule(seconds=st.sampled_from([0.0, 0.1, 2.0, 5.0]))
    def time_passes(self, seconds):
        self.p.wait(seconds)

    @invariant()
    def consistent(self):
        if hasattr(self, "p"):
            self.p.machine.validate()
            assert self.p.up == self.p.machine._running

    def teardown(self):
        if not hasattr(self, "p"):
            return
        if not self.p.done:
            self.p._do(self.p.machine.close(self.p.now))
        for _ in range(10):
            asked = [int(entry[1:]) for entry in self.p.log if entry[0] in "-!"]
            for child in [child for child in asked if child in self.p.up]:
                self.p.ends(child)
        assert self.p.done


TestSupervisorUnderAnyOrder = SupervisorUnderAnyOrder.TestCase
