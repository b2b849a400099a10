"""The deadlock check: a closed world of processes that compute, wait, send and end, in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cmpi._core.job.deadlock import AGAIN_S, Deadlock, DeadlockCheck, Probe
from cmpi._core.protocol.process_root_waits import Blocked, StillBlocked

PIDS = st.integers(0, 3)


class World(RuleBasedStateMachine):
    """Processes wait for a message from any other. A message in flight wakes its receiver when it
    arrives."""

    @initialize(n=st.integers(1, 4))
    def start(self, n):
        self.check = DeadlockCheck()
        self.now = 0.0
        self.living = set(range(n))
        self.waiting, self.said = set(), set()
        self.epoch = dict.fromkeys(range(n), 1)
        self.sent, self.received = dict.fromkeys(range(n), 0), dict.fromkeys(range(n), 0)
        self.under_way = []
        self.probes = []  # questions that have not been answered
        self.found = False
        for pid in self.living:
            self.check.born(pid)

    def _do(self, actions):
        for action in actions:
            if isinstance(action, Probe):
                self.probes += [(pid, action.round) for pid in action.pids]
            else:
                assert isinstance(action, Deadlock)
                assert self.waiting == self.living and not self.under_way, "a false alarm"
                self.found = True

    @rule(pid=PIDS)
    def waits(self, pid):
        if pid in self.living - self.waiting:
            self.waiting.add(pid)
            self.epoch[pid] += 1

    @rule(pid=PIDS)
    def says_so(self, pid):
        if pid in self.waiting - self.said:
            self.said.add(pid)
            self._do(self.check.on_frame(pid, Blocked(self.epoch[pid], ["recv"]), self.now))

    @rule(pid=PIDS, other=PIDS)
    def sends(self, pid, other):
        if pid in self.living - self.waiting and other in self.living - {pid}:
            self.sent[pid] += 1
            self.under_way.append(other)

    @rule(which=st.integers(0, 9))
    def arrives(self, which):
        if self.under_way:
            self._receive(self.under_way[which % len(self.under_way)])

    def _receive(self, pid):
        self.under_way.remove(pid)
        self.received[pid] += 1
        if pid in self.waiting:
            self.waiting.discard(pid)
            self.epoch[pid] += 1

    @rule(pid=PIDS)
    def says_that_it_goes_on(self, pid):
        if pid in self.said - self.waiting and pid in self.living:
            self.said.discard(pid)
            self._do(self.check.on_frame(pid, Blocked(0, []), self.now))

    @rule(which=st.integers(0, 9), looks=st.booleans())
    def answers(self, which, looks):
        if self.probes:
            pid, number = self.probes.pop(which % len(self.probes))
            if pid in self.living:
                if looks and pid in self.under_way:
                    self._receive(pid)
                epoch = self.epoch[pid] if pid in self.waiting else 0
                still = StillBlocked(number, epoch, self.sent[pid], self.received[pid])
                self._do(self.check.on_frame(pid, still, self.now))

    @rule(talker=PIDS, other=PIDS)
    def all_wait_and_say_so(self, talker, other):
        self.sends(talker, other)
        for pid in sorted(self.living):
            self.says_that_it_goes_on(pid)
            self.waits(pid)
            self.says_so(pid)

    @rule(looks=st.lists(st.booleans(), min_size=4, max_size=4))
    def all_answer(self, looks):
        for look in looks:
            self.answers(0, look)

    @rule()
    def time_passes(self):
        self.now += AGAIN_S
        self._do(self.check.tick(self.now))

    @rule(pid=PIDS)
    def dies(self, pid):
        if pid in self.living and len(self.living) > 1:
            for each in (self.living, self.waiting, self.said):
                each.discard(pid)
            self.under_way = [other for other in self.under_way if other != pid]
            # Its messages to and from living processes are forgotten with their connections.
            for each in self.living:
                self.sent[each] = self.received[each] = 0
            self.under_way = []
            for other in list(self.waiting):  # they notice the death
                self.waiting.discard(other)
                self.epoch[other] += 1
            self._do(self.check.died(pid))

    def teardown(self):
        if not hasattr(self, "check"):
            return
        while self.under_way:
            self._receive(self.under_way[0])
        for pid in sorted(self.living):
            self.says_that_it_goes_on(pid)
        for pid in sorted(self.living):
            self.waits(pid)
            self.said.discard(pid)
            self.says_so(pid)
        for _ in range(3):
            while self.probes:
                self.answers(0, True)
            self.time_passes()
        assert self.found, "in the end all wait, and that is seen"


World.TestCase.settings = settings(
    max_examples=settings.default.max_examples * 12 // 10, stateful_step_count=30
)
TestWorld = World.TestCase


def all_blocked(n):
    check = DeadlockCheck()
    for pid in range(n):
        check.born(pid)
    for pid in range(n):
        actions = check.on_frame(pid, Blocked(1, ["recv"]), 0.0)
    return check, actions[0].round


def test_a_process_that_woke_between_two_checks_does_not_count_as_blocked():
    # C's message wakes A; A's message wakes B after B's answer; B's message wakes C before C's answer. So
    # the numbers agree, although B is awake.
    check, number = all_blocked(3)
    assert check.on_frame(1, StillBlocked(number, 1, 0, 0), 0.0) == []
    assert check.on_frame(0, StillBlocked(number, 3, 1, 1), 0.0) == []
    assert check.on_frame(2, StillBlocked(number, 3, 1, 1), 0.0) == []


def test_an_answer_to_an_earlier_question_is_ignored():
    check, number = all_blocked(2)
    check.on_frame(0, Blocked(2, ["recv"]), 0.0)
    assert check.on_frame(0, StillBlocked(number, 2, 0, 0), 0.0) == []
    assert check.on_frame(1, StillBlocked(number, 1, 0, 0), 0.0) == []
    assert check.on_frame(0, StillBlocked(number + 1, 2, 0, 0), 0.0) == []
    assert check.on_frame(1, StillBlocked(number + 1, 1, 0, 0), 0.0) == [Deadlock()]
