"""What ranks are told about their world, and when they may begin."""

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.job.job_actions import BeginProcess, Tell
from cmpi._core.job.process_record import Process
from cmpi._core.job.world import WorldStarts, environment
from cmpi.identifiers import NO_PID
from tests.core.frames import spawn_frame

PLACES = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


def settings(hosts, rank):
    return dict(setting.split("=", 1) for setting in environment(hosts, rank, "10.0.0.1", 20000))


@given(PLACES)
def test_ranks_are_numbered_within_their_host_and_hosts_in_the_order_of_the_ranks(hosts):
    told = [settings(hosts, rank) for rank in range(len(hosts))]
    assert [int(it["RANK"]) for it in told] == list(range(len(hosts)))
    assert {it["WORLD_SIZE"] for it in told} == {str(len(hosts))}
    for host in set(hosts):
        here = [it for it, at in zip(told, hosts) if at == host]
        assert [int(it["LOCAL_RANK"]) for it in here] == list(range(len(here)))
        assert {it["LOCAL_WORLD_SIZE"] for it in here} == {str(len(here))}
        assert len({it["GROUP_RANK"] for it in here}) == 1
    assert told[0]["GROUP_RANK"] == "0"
    assert {it["GROUP_RANK"] for it in told} == {str(group) for group in range(len(set(hosts)))}


def test_torch_and_jax_have_a_port_each():
    told = settings(["a"], 0)
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("10.0.0.1", "20000")
    assert told["JAX_COORDINATOR_ADDRESS"] == "10.0.0.1:20001"


def world(hosts, start=0):
    group = [Process(rank, NO_PID, start, rank, "f") for rank in range(len(hosts))]
    for process, host in zip(group, hosts):
        process.host = host
    return group


@given(st.data(), PLACES, st.sampled_from([0, 1]))
def test_each_rank_begins_once_and_none_before_the_port_is_known(data, hosts, start):
    starts, group = WorldStarts({"a": "10.0.0.1"}.get), world(hosts, start)
    begun = []
    for rank in data.draw(st.permutations(range(len(hosts)))):
        group[rank].monitored = True
        actions = starts.monitored(group[rank], 20000, group)
        alone = start and len(hosts) == 1
        assert not actions or group[0].monitored or alone
        assert not (set(begun) & {it.pid for it in actions})
        begun += [it.pid for it in actions]
        for it in actions:
            expected = "127.0.0.1" if len(set(hosts)) == 1 else {"a": "10.0.0.1"}.get(hosts[0], hosts[0])
            assert (f"MASTER_ADDR={expected}" in it.settings) == (not alone)
    assert sorted(begun) == list(range(len(hosts)))


def test_a_closure_of_a_group_waits_for_the_port_and_is_given_once():
    starts, group = WorldStarts(lambda host: ""), world(["a", "a"], start=1)
    order = spawn_frame(n=2)
    group[1].monitored, group[1].joined, group[1].order = True, True, order
    assert starts.monitored(group[1], 0, group) == [] == starts.begin(group[1], group)
    group[0].monitored = True
    actions = starts.monitored(group[0], 20000, group)
    closures = [it for it in actions if isinstance(it, Tell)]
    assert [it.pid for it in closures] == [1] and "RANK=1" in closures[0].frame.settings
    assert [it.pid for it in actions if isinstance(it, BeginProcess)] == [0, 1]
    assert starts.begin(group[1], group) == []


def test_a_process_of_a_world_that_has_ended_is_not_started():
    starts, group = WorldStarts(lambda host: ""), world(["a", "a"])
    group[0].monitored = group[1].monitored = True
    group[1].status = object()
    assert [it.pid for it in starts.monitored(group[0], 20000, group)] == [0]
