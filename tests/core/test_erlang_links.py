"""Links and names in the root."""

from cmpi._core.job.erlang_links import ErlangLinks
from cmpi._core.job.job_actions import Named, Tell
from cmpi._core.protocol.process_root_links import LinkedBy, NameIs, Register, Trap, Unregister, WhereIs
from cmpi.identifiers import NO_PID


def alive(pid):
    return pid < 100


def test_a_link_is_mutual_and_the_other_process_is_notified_once():
    r = ErlangLinks()
    assert r.tie(1, 2) == [Tell(2, LinkedBy(1, True))]
    assert r.tie(1, 2) == r.tie(2, 1) == []
    assert r.linked(1) == [2] and r.ended(2) == [1] and r.ended(1) == []


def test_either_process_can_undo_a_link():
    r = ErlangLinks()
    r.tie(1, 2)
    assert r.untie(2, 1) == [Tell(1, LinkedBy(2, False))]
    assert r.untie(2, 1) == [] and r.ended(1) == []


def test_trapping_exits_prevents_the_end_by_a_link():
    r = ErlangLinks()
    r.tie(1, 2)
    r.tie(1, 3)
    r.on_frame(2, Trap(True), alive)
    assert r.ended(1) == [3]


def test_a_name_belongs_to_one_process_until_it_ends():
    r = ErlangLinks()
    assert r.on_frame(1, Register(5, "a", 1), alive) == [Tell(1, NameIs(5, 1)), Named(1, "a")]
    assert r.on_frame(2, Register(6, "a", 2), alive) == [Tell(2, NameIs(6, 1))], "taken"
    assert r.on_frame(2, Register(7, "b", 100), alive) == [Tell(2, NameIs(7, NO_PID))], "dead"
    r.ended(1)
    assert r.on_frame(2, WhereIs(8, "a", False), alive) == [Tell(2, NameIs(8, NO_PID))]
    assert r.on_frame(2, Register(9, "a", 2), alive) == [Tell(2, NameIs(9, 2)), Named(2, "a")]
    r.on_frame(1, Unregister("a"), alive)
    assert r.on_frame(2, WhereIs(8, "a", False), alive) == [Tell(2, NameIs(8, NO_PID))]


def test_registering_a_name_answers_those_still_waiting_for_it():
    r = ErlangLinks()
    for request in (1, 2):
        assert r.on_frame(9, WhereIs(request, "a", True), alive) == []
    r.on_frame(8, WhereIs(3, "a", True), alive)
    r.cancel(9, 2)
    r.ended(8)
    answers = r.on_frame(4, Register(5, "a", 4), alive)
    assert answers == [Tell(4, NameIs(5, 4)), Named(4, "a"), Tell(9, NameIs(1, 4))]
