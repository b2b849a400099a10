"""The states of a job's hosts, under any interleaving of agents, the root, the user and time."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmpi._core import host_lives as hl
from cmpi._core.host_lives import HostLives

NAMES = ["a", "b"]
NAME = st.sampled_from(NAMES)
BEAT_S, LOST_S = 1.0, 8.0


class HostsUnderAnyInterleaving(RuleBasedStateMachine):
    """The code around the machine, with agents that do anything at any time."""

    @initialize(n=st.integers(0, 1), warm=st.sampled_from([True, True, False]))
    def begin(self, n, warm):
        """If `warm`, all agents have come up, and the root is there."""
        self.now_s = 0.0
        self.lives = HostLives(BEAT_S, LOST_S, 0.0)
        self.agents = {}  # the running ones: "starting", "up", "checked", "begun", "ending"
        self.known_to_root = set()  # hosts that the root may use
        self.unanswered = []  # hosts whose loss the root has not acknowledged
        self.waiting = {}  # by host: how many requests to add it have no answer yet
        self.of_job = set(NAMES[:n])
        self.attended = False
        for name in NAMES[:n]:
            self.do(self.lives.start(name, 0.0))
        if warm:
            for name in NAMES[:n]:
                self.agent_comes_up(name)
            self.root_comes()

    def do(self, actions):
        for action in actions:
            name, kind = action.name, type(action)
            if kind is hl.StartAgent:
                assert name not in self.agents, "one agent at a time"
                assert name not in self.unanswered, "the root knows that the host was lost"
                assert name in self.of_job or self.waiting[name], "nobody has asked for it"
                self.agents[name] = "starting"
            elif kind is hl.KillAgent:
                self.agents[name] = "ending"
            elif kind is hl.SendHeartbeat:
                assert self.agents[name] == "up"
            elif kind is hl.CloseSilent:
                self.close(name, "silent")
            elif kind is hl.DismissAgent:
                assert self.agents[name] == "up" and name not in {*self.of_job, *self.unanswered}
                self.agents[name] = "ending"
            elif kind is hl.CheckHost:
                assert self.agents[name] == "starting"
                self.agents[name] = "came"
            elif kind is hl.DescribeJob:
                assert self.agents[name] == "came"
                self.agents[name] = "checked"
            elif kind is hl.SendProgram:
                assert self.agents[name] == "checked"
                self.agents[name] = "begun"
            elif kind is hl.ReportUp:
                assert self.agents[name] == "begun" and name not in self.known_to_root
                self.agents[name] = "up"
                self.known_to_root.add(name)
                self.of_job.add(name)
            elif kind is hl.ReportLost:
                assert self.attended and action.reason is not None
                assert (action.reason == hl.REMOVED) == (self.lives.state(name) == hl.LEAVING)
                self.known_to_root.remove(name)
                self.unanswered.append(name)
            else:
                assert kind is hl.AnswerAdd and self.waiting[name] > 0
                assert (action.fault == "") == (self.agents.get(name) == "up" and name in self.taken())
                self.waiting[name] -= 1

    def taken(self):
        return {name for name in NAMES if self.lives.state(name) == hl.UP and self.adding == ""}

    adding = ""  # the host that is being added at the moment

    @rule()
    def root_comes(self):
        if not self.attended:
            self.attended = True
            self.known_to_root |= self.of_job
            self.do(self.lives.attend())

    @rule(name=NAME)
    def agent_comes_up(self, name):
        if self.agents.get(name) == "starting":
            if self.lives.state(name) == hl.STARTING:
                self.agents[name] = "up"
            self.do(self.lives.up(name))

    @rule(name=NAME, fault=st.sampled_from(["", "", "no"]))
    def next_step(self, name, fault):
        step = {"came": self.lives.checked, "checked": self.lives.begun, "begun": self.lives.provided}
        if self.agents.get(name) in step:
            self.do(step[self.agents[name]](name, fault))

    @rule(name=NAME)
    def agent_goes_all_the_way(self, name):
        self.agent_comes_up(name)
        for _ in range(3):
            self.next_step(name, "")

    @rule(name=NAME, adds=st.integers(0, 2), answered=st.booleans())
    def host_comes_up_and_is_lost(self, name, adds, answered):
        self.agent_goes_all_the_way(name)
        self.agent_ends(name)
        self.user_adds(name, adds)
        if answered:
            self.root_answers()

    @rule(name=NAME)
    def agent_is_heard(self, name):
        if name in self.agents:
            self.lives.heard(name, self.now_s)

    @rule(name=NAME)
    def agent_ends(self, name):
        if name in self.agents:
            self.close(name, "")

    def close(self, name, reason):
        del self.agents[name]
        self.do(self.lives.closed(name, reason))

    @rule()
    def root_answers(self):
        if self.unanswered:
            self.do(self.lives.forgotten(self.unanswered.pop(0), self.now_s))

    @rule(name=NAME)
    def root_has_lost_one_that_is_up(self, name):
        if name in self.agents and self.lives.state(name) == hl.UP:
            assert self.lives.forgotten(name, self.now_s) == []

    @rule(name=NAME, times=st.integers(1, 2))
    def user_adds(self, name, times):
        for _ in range(times if self.attended else 0):
            self.waiting[name] = self.waiting.get(name, 0) + 1
            self.adding = name
            actions = self.lives.add(name, self.now_s)
            self.do(actions)
            self.adding = ""

    @rule(name=NAME)
    def user_removes(self, name):
        wanted = self.waiting.get(name) and self.lives.state(name) == hl.LOST
        if self.attended and self.lives.state(name) != hl.STARTING and not wanted:
            self.of_job.discard(name)
            self.do(self.lives.remove(name))

    @rule(passed_s=st.sampled_from([0.5, 1.0, 5.0, 8.0]))
    def time_passes(self, passed_s):
        self.now_s += passed_s
        self.do(self.lives.tick(self.now_s))

    @invariant()
    def those_that_are_up_have_an_agent(self):
        if hasattr(self, "lives"):
            for name in NAMES:
                leaving = self.lives.state(name) == hl.LEAVING
                assert leaving or (self.lives.state(name) == hl.UP) == (self.agents.get(name) == "up")
                assert self.lives.state(name) or name not in self.of_job, "a host of the job stays one"

    @invariant()
    def who_asked_waits_for_something_that_will_come(self):
        if hasattr(self, "lives"):
            for name, n in self.waiting.items():
                assert n <= 1 and (not n or name in self.agents or name in self.unanswered)

    def teardown(self):
        """Whatever has happened, each request is answered, and a lost host is tried again."""
        if not hasattr(self, "lives"):
            return
        self.root_comes()
        for _ in range(6):
            while self.unanswered:
                self.root_answers()
            self.time_passes(5.0)
            for name in NAMES:
                if self.agents.get(name) == "ending":
                    self.close(name, "")
                self.agent_goes_all_the_way(name)
                self.agent_is_heard(name)
        assert not any(self.waiting.values())
        assert not self.unanswered
        assert all(self.lives.state(name) in (hl.UP, hl.STARTING, "") for name in NAMES)
        assert self.known_to_root >= {name for name in NAMES if self.lives.state(name) == hl.UP}


TestHostsUnderAnyInterleaving = HostsUnderAnyInterleaving.TestCase
TestHostsUnderAnyInterleaving.settings = settings(max_examples=200, stateful_step_count=30)


def lives_with(name="h"):
    lives = HostLives(BEAT_S, LOST_S, 0.0)
    assert lives.start(name, 0.0) == [hl.StartAgent(name)]
    assert lives.up(name) == [] and lives.attend() == []
    return lives


def test_a_silent_host_is_lost_and_a_host_that_sends_is_not():
    lives = lives_with()
    lives.heard("h", 4.0)
    assert lives.tick(11.0) == [hl.SendHeartbeat("h")]
    assert lives.tick(12.0) == [hl.CloseSilent("h")]
    assert lives.closed("h", "silent") == [hl.ReportLost("h", "silent")] and lives.state("h") == hl.LOST


def test_a_lost_host_is_retried_every_5_s_once_the_root_has_answered():
    lives = lives_with()
    lives.closed("h", "")
    assert lives.tick(50.0) == []
    assert lives.forgotten("h", 60.0) == [] == lives.tick(64.0)
    assert lives.tick(65.0) == [hl.StartAgent("h")]
    assert lives.closed("h", "") == [] == lives.tick(69.0)
    assert lives.tick(70.0) == [hl.StartAgent("h")]


def test_the_root_is_told_of_a_host_that_was_lost_before_it_connected():
    lives = HostLives(BEAT_S, LOST_S, 0.0)
    lives.start("h", 0.0)
    lives.up("h")
    assert lives.closed("h", "gone") == []
    assert lives.attend() == [hl.ReportLost("h", "gone")]


def test_adding_a_host_goes_through_all_steps_and_is_answered():
    lives = lives_with()
    assert lives.add("n", 1.0) == [hl.StartAgent("n")]
    assert lives.up("n") == [hl.CheckHost("n")]
    assert lives.checked("n", "") == [hl.DescribeJob("n")]
    assert lives.begun("n", "") == [hl.SendProgram("n")]
    assert lives.provided("n", "") == [hl.ReportUp("n"), hl.AnswerAdd("n", "")]
    assert lives.add("n", 2.0) == [hl.AnswerAdd("n", "n: is already a host of this job")]


@pytest.mark.parametrize("step", ["checked", "begun", "provided"])
def test_a_new_host_that_fails_is_forgotten_with_the_fault(step):
    lives = lives_with()
    lives.add("n", 1.0)
    lives.up("n")
    for each in ("checked", "begun", "provided"):
        actions = getattr(lives, each)("n", "no" if each == step else "")
        if each == step:
            break
    assert actions == [hl.KillAgent("n")]
    assert lives.closed("n", "") == [hl.AnswerAdd("n", "no")] and lives.state("n") == ""


def test_a_lost_host_that_is_added_is_tried_once_the_root_has_answered():
    lives = lives_with()
    lives.closed("h", "")
    assert lives.add("h", 1.0) == []
    assert lives.forgotten("h", 1.5) == [hl.StartAgent("h")]
