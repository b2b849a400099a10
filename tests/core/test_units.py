import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi import Resources
from cmpi._base.units import format_memory, parse_cpus, parse_memory
from cmpi.errors import UsageError


@pytest.mark.parametrize("bad", ["", "x", "-1", "5 potatoes", "1e99 GiB", "nan", -1, True, None])
def test_unreadable_memory_is_refused_with_what_was_found(bad):
    with pytest.raises(UsageError, match="memory"):
        parse_memory(bad)


@pytest.mark.parametrize("bad", ["", "x", -1, float("nan"), float("inf"), None])
def test_unreadable_cpus_are_refused(bad):
    with pytest.raises(UsageError, match="cpus"):
        parse_cpus(bad)


@given(st.integers(0, 1 << 50))
def test_memory_as_an_int_is_bytes(nbytes):
    assert parse_memory(nbytes) == nbytes


@given(st.integers(1, 1 << 30))
def test_scheduler_units_survive_the_way_over_cores(units):
    assert Resources.of_units(units, 0).cpu_units == units


def test_a_tiny_share_of_a_core_is_never_rounded_to_none():
    assert parse_cpus(1e-9) == 1


def test_the_default_holds_no_core_and_what_an_idle_process_takes():
    assert (Resources().cpu_units, Resources().memory_bytes) == (0, 16 << 20)
    assert not Resources(cpus=0).asks_cpus, "which would make it as nice as can be"


def test_memory_is_shown_with_a_binary_unit():
    assert [format_memory(n) for n in (1023, 1 << 20, 3 << 40)] == ["1.02e+03 B", "1 MiB", "3 TiB"]
