import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.scheduling.placement import BY, HostSlots, place_ranks, runs
from cmpi.errors import UsageError

TWO = [HostSlots("a", 2), HostSlots("b", 4)]


def test_hosts_are_filled_one_after_another_and_overflow_goes_round_again():
    assert runs(place_ranks(5, TWO, "slot")) == [("a", 2), ("b", 3)]
    assert runs(place_ranks(8, TWO, "slot")) == [("a", 2), ("b", 4), ("a", 2)]


def test_by_node_placement_goes_round_robin_over_hosts_with_slots():
    assert place_ranks(5, TWO, "node") == ["a", "b", "a", "b", "b"]


def test_more_ranks_than_all_hosts_take_is_an_error_that_counts_them():
    places = [HostSlots("a", 2, 3), HostSlots("b", 2, 2)]
    assert place_ranks(5, places, "slot") == ["a", "a", "b", "b", "a"]
    with pytest.raises(
        UsageError, match="6 ranks were requested, but the hosts accept at most 5: a 3, b 2"
    ):
        place_ranks(6, places, "slot")


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from(BY),
)
def test_every_rank_has_a_host_and_no_host_more_than_it_takes(hosts, n, by):
    places = [
        HostSlots(f"h{i}", slots, slots + more if more else 0) for i, (slots, more) in enumerate(hosts)
    ]
    most = sum(place.max_slots or n for place in places)
    if most < n:
        with pytest.raises(UsageError):
            place_ranks(n, places, by)
        return
    where = place_ranks(n, places, by)
    assert len(where) == n
    for place in places:
        assert not place.max_slots or where.count(place.name) <= place.max_slots
    if n <= sum(place.slots for place in places):
        assert all(where.count(place.name) <= place.slots for place in places)
