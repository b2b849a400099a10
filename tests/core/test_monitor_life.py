"""When a monitor ends, and when its slot is free again."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmpi._core.monitor_life import MonitorLife


def life(*, is_slot=False, fragile=False, linger_s=0.0):
    return MonitorLife(is_slot=is_slot, fragile=fragile, linger_s=linger_s)


def finished(monitor, now_s=0.0, *, root_gone=False, over=True):
    return monitor.finished(now_s, root_gone=root_gone, over=over)


def test_the_monitor_ends_once_no_descendant_of_its_process_is_left():
    monitor = life()
    assert not finished(monitor, over=False)
    monitor.process_started()
    assert monitor.process_exited(0, 0.0, untouched=False)
    assert not finished(monitor, over=False), "a descendant runs on"
    assert finished(monitor)


def test_a_fragile_launcher_learns_of_a_failure_later():
    monitor = life(fragile=True, linger_s=2.0)
    monitor.process_started()
    assert not monitor.signalled(5.0), "it runs, and can be sent the signal"
    assert monitor.process_exited(1, 10.0, untouched=False)
    assert not finished(monitor, 14.9) and finished(monitor, 15.0)
    monitor.told_to_end()
    assert finished(monitor, 10.0)


def test_a_monitor_does_not_linger_after_success():
    monitor = life(fragile=True, linger_s=2.0)
    monitor.process_started()
    assert monitor.process_exited(0, 10.0, untouched=False) and finished(monitor, 10.0)


@pytest.mark.parametrize("untouched", [True, False])
def test_a_slot_is_free_again_if_its_process_never_started_mpi(untouched):
    slot = life(is_slot=True)
    slot.process_started()
    assert slot.process_exited(1, 0.0, untouched=untouched) != untouched
    assert slot.reusable == untouched == (not finished(slot))


def test_a_process_that_was_not_started_counts_as_ended_by_the_signal_once():
    monitor = life()
    assert monitor.signalled(0.0) and finished(monitor, over=False) and not monitor.signalled(0.0)
    assert not life(is_slot=True).signalled(0.0), "a slot's process belongs to nobody yet"


def test_a_dismissed_monitor_waits_for_its_running_process():
    monitor = life(is_slot=True)
    monitor.process_started()
    monitor.dismiss()
    assert not finished(monitor, over=False)
    monitor.process_exited(137, 0.0, untouched=True)
    assert not monitor.reusable and finished(monitor)
    idle = life(is_slot=True)
    idle.dismiss()
    assert finished(idle, over=False)


class Life(RuleBasedStateMachine):
    """The events of a monitor in any order."""

    def __init__(self):
        super().__init__()
        self.monitor, self.now_s = life(is_slot=True, fragile=True, linger_s=2.0), 0.0
        self.running = self.exited = self.untouched = self.asked = self.left_behind = False

    def finished(self, **kwargs):
        return finished(self.monitor, self.now_s, over=self.exited and not self.left_behind, **kwargs)

    @precondition(lambda self: not self.running and not self.exited)
    @rule()
    def starts(self):
        self.running = True
        self.monitor.process_started()

    @precondition(lambda self: self.running)
    @rule(code=st.sampled_from([0, 1, 137]), untouched=st.booleans(), left_behind=st.booleans())
    def exits(self, code, untouched, left_behind):
        self.running, self.exited, self.untouched, self.left_behind = False, True, untouched, left_behind
        leaves = self.monitor.process_exited(code, self.now_s, untouched=untouched)
        assert leaves == (self.asked or not untouched)

    @precondition(lambda self: self.monitor.reusable and not self.left_behind)
    @rule()
    def is_removed(self):
        assert not self.finished()
        self.exited = False
        self.monitor.process_removed()

    @rule()
    def descendants_end(self):
        self.left_behind = False

    @rule()
    def launcher_asks(self):
        self.asked = True
        self.monitor.told_to_end()

    @rule()
    def root_dismisses(self):
        self.asked = True
        self.monitor.dismiss()
        assert self.finished() or self.running

    @rule(linger_s=st.sampled_from([0.0, 4.0]))
    def root_signals(self, linger_s):
        assert not self.monitor.signalled(linger_s)

    @rule(passed_s=st.sampled_from([0.5, 4.0]))
    def time_passes(self, passed_s):
        self.now_s += passed_s

    @invariant()
    def ends_only_when_asked_or_when_its_slot_cannot_be_used_again(self):
        assert self.finished(root_gone=True)
        if self.finished():
            assert self.asked or (self.exited and not self.untouched and not self.left_behind)

    def teardown(self):
        """Whatever happened: a monitor that is asked to end does, once its process has."""
        self.monitor.told_to_end()
        self.asked = True
        if self.running:
            self.exits(137, True, False)
        self.left_behind = False
        assert self.finished()


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=30)
