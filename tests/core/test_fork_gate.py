"""Which processes are forked by a fork server, and which are executed."""

from cmpi._core.job.fork_gate import ForkGate
from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Launch, NeedForkServer
from cmpi._core.job.process_record import Process
from cmpi._core.scheduling.host_room import Host
from cmpi.identifiers import NO_PID
from tests.core.frames import spawn_frame

PLAIN = Interpreter("/py/a", ["-O"], ["LANG=C"])


def process(host="a", interpreter=PLAIN):
    one = Process(1, NO_PID, 1, 0, "f")
    one.host, one.interpreter = host, interpreter
    return one


def order(**changes):
    return spawn_frame(**changes)


def gate():
    return ForkGate([Host("a", 1, 1, python="/py/a"), Host("b", 1, 1, python="/py/b")])


def forked(gate, one):
    return [action.forked for action in gate.launch(1, [one]) if isinstance(action, Launch)]


def test_a_process_is_forked_only_by_a_server_that_was_started_in_the_same_way():
    g = gate()
    assert g.need("a", PLAIN) == [NeedForkServer("a", PLAIN)] and forked(g, process()) == []
    (held,) = g.turned("a", "ready")
    assert held.forked and forked(g, process()) == [True]
    for other in (
        Interpreter("/py/x", PLAIN.flags, PLAIN.settings),
        Interpreter("/py/a", ["-OO"], PLAIN.settings),
        Interpreter("/py/a", PLAIN.flags, ["LANG"]),
    ):
        assert forked(g, process(interpreter=other)) == [False]


def test_a_fork_server_that_dies_while_loading_releases_the_waiting_starts():
    g = gate()
    assert forked(g, process()) == [] and forked(g, process()) == []
    assert [launch.forked for launch in g.turned("a", "dead")] == [False, False]


def test_on_another_host_its_server_serves_unless_the_parent_has_changed_something():
    g, parent = gate(), process()
    there = Interpreter("/py/b", ["-O"], ["LANG=de_DE"])
    assert g.interpreter("b", parent, order()) == PLAIN.at("/py/b")
    g.need("b", there)
    assert g.interpreter("b", parent, order()) == there
    changed = g.interpreter("b", parent, order(flags=["-O"], settings=["LANG=C", "TZ=UTC"]))
    assert changed == Interpreter("/py/b", ["-O"], ["LANG=C", "TZ=UTC"])
    assert g.interpreter("a", parent, order()) == PLAIN


def test_other_flags_than_those_of_the_server_there_are_kept():
    g, parent = gate(), process(interpreter=Interpreter("/py/a", ["-OO"]))
    g.need("b", Interpreter("/py/b", ["-O"]))
    assert g.interpreter("b", parent, order()) == Interpreter("/py/b", ["-OO"])
