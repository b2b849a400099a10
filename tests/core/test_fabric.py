"""Which connections fabric agents carry, when their world is started again, and when an agent sleeps."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from cmpi._core.fabric.revival import LONG_S, MOST_FAILURES, Revival
from cmpi._core.fabric.wakefulness import LINGER, NAP_S, PATIENCE_S, STEP_S, Wakefulness
from cmpi._core.job.connection_broker import RETRY_S, ConnectionBroker
from cmpi._core.job.fabric import CARRIED, DIRECT, FORM_S, WAIT, Fabric
from cmpi._core.job.job_actions import Say, Tell
from cmpi._core.protocol.process_root_connections import Abandon, Dial, DialThrough, ListenFor
from tests.core.test_connection_broker import PIDS, LinksUnderAnyOrder

AWAKE_S = 0.001
HOSTS = st.sampled_from("abc")


def broker(*hosts):
    table = ConnectionBroker(
        {"a": "10.0.0.1", "b": "10.0.0.2"}, b"s", "/job", fabric=Fabric(list(hosts), b"agents' key")
    )
    table.join(1, -1, 0, "a")
    table.join(2, -2, 0, "b")
    return table


def test_at_the_start_a_connection_waits_for_the_agents_of_both_hosts_which_then_carry_it():
    table = broker("a", "b")
    assert table.want(2, 1) == [] and table.fabric_up("a") == []
    (listen,) = table.fabric_up("b")
    assert listen == Tell(1, ListenFor(2, "/job/0000001.link", listen.frame.key, True))
    (dial,) = table.listening(1, 2, 0)
    key = listen.frame.key
    assert dial == Tell(2, DialThrough(1, "a", "/job/fabric", b"agents' key", key))
    assert table.up(1, 2) == [] and table.up(2, 1) == []


def test_processes_of_one_host_do_not_wait_for_agents():
    table = broker("a", "b")
    table.join(3, -3, 0, "a")
    (listen,) = table.want(1, 3)
    assert not listen.frame.carried


def test_agents_that_do_not_come_up_are_not_waited_for_for_ever():
    table = broker("a", "b")
    table.want(2, 1)
    assert table.tick(5.0) == [] and table.deadline_s() == 5.0 + FORM_S
    table.fabric_up("b")
    said, listen = table.tick(5.0 + FORM_S)
    assert isinstance(said, Say) and "after 20 s there was no fabric agent on a" in said.text
    assert listen.frame.address == "10.0.0.1" and not listen.frame.carried
    assert table.deadline_s() is None


def test_agents_that_cannot_be_started_are_not_waited_for():
    table = broker("a", "b")
    table.want(2, 1)
    said, listen = table.fabric_failed("no such mpiexec")
    assert said.text == "channels between hosts go by TCP: no such mpiexec" and not listen.frame.carried


def test_that_there_are_no_agents_is_said_once():
    table = broker("a", "b")
    table.tick(0.0)
    assert len(table.tick(FORM_S)) == 1 and table.fabric_failed("they end") == []
    table.fabric_up("a")
    assert len(table.fabric_failed("they end")) == 1, "they had been up after all"


def test_when_the_agents_have_ended_connections_go_by_tcp_until_they_are_up_again():
    table = broker("a", "b")
    table.fabric_up("a"), table.fabric_up("b")
    (said,) = table.fabric_down("b")
    assert "until they are up again" in said.text
    assert table.fabric_down("a") == [], "said once"
    (listen,) = table.want(2, 1)
    assert not listen.frame.carried
    assert isinstance(table.listening(1, 2, 4000)[0].frame, Dial)
    table.up(1, 2), table.up(2, 1)
    table.fabric_up("a"), table.fabric_up("b")
    table.join(3, -3, 0, "b")
    (listen,) = table.want(3, 1)
    assert listen.frame.carried


def test_two_processes_that_agents_could_not_connect_are_connected_by_tcp_without_complaint():
    table = broker("a", "b")
    table.fabric_up("a"), table.fabric_up("b")
    table.want(2, 1)
    table.listening(1, 2, 0)
    assert table.failed(2, 1, 0.0) == [Tell(1, Abandon(2))]
    assert table.failed(1, 2, 0.0) == []
    (listen,) = table.tick(RETRY_S)
    assert listen.frame.address == "10.0.0.1" and not listen.frame.carried
    table.join(3, -3, 0, "b")
    assert table.fabric.way(1, "a", 3, "b") == CARRIED
    table.leave(2, 0.0)
    assert table.fabric.way(1, "a", 2, "b") == CARRIED, "forgotten with the process"


class ConnectionsWithFabricAgents(LinksUnderAnyOrder):
    """The processes are on three hosts, two of which get agents, which come up and end at any moment."""

    @initialize()
    def start(self):
        super().start()
        addresses = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
        self.table = ConnectionBroker(addresses, b"s", "/job", fabric=Fabric(["a", "b"]))

    @rule(pid=PIDS)
    def join(self, pid):
        if pid in self.alive and pid not in self.joined:
            self.joined.add(pid)
            self._do(self.table.join(pid, -pid, 0, "abc"[pid % 3]))

    @rule(host=HOSTS)
    def an_agent_comes_up(self, host):
        self._do(self.table.fabric_up(host))

    @rule(host=HOSTS)
    def an_agent_ends(self, host):
        self._do(self.table.fabric_down(host))

    @rule(really=st.sampled_from([False, False, True]))
    def no_more_agents_are_started(self, really):
        if really:
            self._do(self.table.fabric_failed("they end"))


TestConnectionsWithFabricAgents = ConnectionsWithFabricAgents.TestCase
TestConnectionsWithFabricAgents.settings = settings(max_examples=2 * settings.default.max_examples)

EVENTS = st.lists(st.tuples(st.sampled_from(["up", "down", "tick", "give up"]), HOSTS), max_size=12)


@given(EVENTS)
def test_nobody_waits_once_the_time_is_over_and_agents_carry_only_between_hosts_that_are_up(events):
    fabric, now_s, up = Fabric(["a", "b"]), 0.0, set()
    for what, host in events:
        if what == "up":
            fabric.up(host)
            up.add(host)
        elif what == "down":
            fabric.down(host)
            up = set() if host in up else up
        elif what == "tick":
            fabric.tick(now_s)
            now_s += FORM_S
        else:
            fabric.give_up()
        for one, other in (("a", "b"), ("a", "c"), ("b", "b")):
            carried = fabric.way(1, one, 2, other) == CARRIED
            assert carried == (one != other and {one, other} <= up)
    fabric.tick(now_s)
    fabric.tick(now_s + FORM_S)
    assert fabric.way(1, "a", 2, "b") != WAIT and fabric.way(1, "a", 2, "a") == DIRECT


def test_a_world_that_falls_again_and_again_is_given_up_after_longer_and_longer_pauses():
    revival, now_s, pauses = Revival(), 0.0, []
    while True:
        revival.started(now_s)
        again_s = revival.fell(now_s + 1)
        if again_s is None:
            break
        pauses.append(again_s - now_s - 1)
        now_s = again_s
    assert len(pauses) == MOST_FAILURES - 1 and pauses == sorted(set(pauses))


def test_a_world_that_lived_long_may_fall_any_number_of_times():
    revival = Revival()
    for i in range(100):
        revival.started(i * 100.0)
        assert revival.fell(i * 100.0 + LONG_S) is not None


def test_an_agent_looks_without_a_pause_while_things_move_then_in_steps_then_it_naps():
    agent = Wakefulness(AWAKE_S)
    agent.moved(1.0)
    assert agent.pause_s(1.0 + AWAKE_S / 2, under_way=False) == 0.0
    assert agent.pause_s(1.0 + 2 * AWAKE_S, under_way=False) == STEP_S
    assert agent.pause_s(1.0 + 2 * LINGER * AWAKE_S, under_way=True) == STEP_S
    assert agent.pause_s(1.0 + 2 * LINGER * AWAKE_S, under_way=False) == NAP_S


def test_an_agent_rings_only_for_one_that_may_nap():
    agent = Wakefulness(AWAKE_S)
    assert agent.sent("b", 1.0), "it may never have been awake"
    assert not agent.sent("b", 1.0 + LINGER * AWAKE_S / 4)
    assert agent.sent("c", 1.0 + LINGER * AWAKE_S / 4)
    assert agent.sent("b", 1.0 + 2 * LINGER * AWAKE_S)


def test_an_agent_that_is_rung_for_does_not_nap_until_it_has_what_the_bell_announced_but_not_for_ever():
    agent = Wakefulness(AWAKE_S)
    agent.rung("b", 3, 1.0)
    agent.received("b", 2)
    assert agent.pause_s(1.0 + PATIENCE_S / 2, under_way=False) == STEP_S
    assert agent.pause_s(1.0 + 2 * PATIENCE_S, under_way=False) == NAP_S
    agent.rung("b", 3, 2.0)
    agent.received("b", 3)
    assert agent.pause_s(2.0 + PATIENCE_S / 2, under_way=False) == NAP_S


def test_an_agent_that_shares_its_cores_naps_at_once_and_is_rung_for_every_time():
    agent = Wakefulness(0.0)
    agent.moved(1.0)
    assert agent.pause_s(1.0, under_way=False) == NAP_S
    assert agent.sent("b", 1.0) and agent.sent("b", 1.0)
