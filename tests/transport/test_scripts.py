"""What a spawned process takes over from a script, and what it keeps."""

import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from cmpi._transport import scripts
from cmpi._transport.scripts import Script


@pytest.fixture
def spawned():
    return Script("job", types.ModuleType("__main__"))


@pytest.fixture
def home():
    return Script("job", is_home=True)


def test_a_value_that_arrived_once_does_not_overwrite_later_changes(spawned):
    spawned.bind("model", ("NoneType", None), None)
    spawned.module.model = "loaded"  # as by `global model`
    spawned.bind("model", ("NoneType", None), None)
    assert spawned.module.model == "loaded"
    spawned.bind("model", ("str", "other"), "other")
    assert spawned.module.model == "other"


def test_the_scripts_own_process_keeps_its_values_and_takes_only_missing_ones(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    home.module.x = 1
    for name in ("x", "y"):
        home.bind(name, ("int", 2), 2)
    assert (home.module.x, home.module.y) == (1, 2)


def test_threads_that_send_one_value_at_once_give_it_the_same_token(home, monkeypatch):
    """Otherwise a process would take the value over twice, and lose what it had made of the first."""
    serials = iter(range(9))

    def slow_serial():
        time.sleep(0.05)  # long enough for the other thread to get here, if it can
        return next(serials)

    monkeypatch.setattr(scripts, "_next_serial", slow_serial)
    state = {}
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: home.token("state", state), range(2))
    assert first == second


def test_names_of_the_module_itself_are_not_overwritten(spawned):
    spawned.module.__file__ = "here.py"
    spawned.bind("__file__", ("str", "there.py"), "there.py")
    assert spawned.module.__file__ == "here.py"


def test_equal_scalars_have_one_token_wherever_they_are(spawned, home):
    for value in (None, True, 1, -1.5, "text", b"bytes", 1 + 2j):
        assert spawned.token("x", value) == home.token("x", value)
    assert spawned.token("x", 1) != spawned.token("x", True) != spawned.token("x", 1.0)
    assert spawned.token("x", sys) == home.token("y", sys)


@pytest.mark.parametrize("make", [list, dict, lambda: 10**50, lambda: "x" * 200, object])
def test_a_new_object_at_a_reused_address_gets_a_new_token(spawned, make):
    seen = set()
    for _ in range(50):
        spawned.module.value = value = make()
        seen.add(spawned.token("value", value))
        assert spawned.token("value", value) in seen
        spawned.forget_rebound()
    assert len(seen) == (1 if make() is make() else 50)


def test_a_received_value_keeps_its_token_until_it_is_reassigned(spawned):
    value = []
    spawned.bind("cache", ("elsewhere", 7), value)
    assert spawned.token("cache", value) == ("elsewhere", 7)
    spawned.module.cache = other = []
    assert spawned.token("cache", other) != ("elsewhere", 7)


def test_replaced_values_are_not_kept_alive(spawned):
    spawned.module.data = [0]
    spawned.token("data", spawned.module.data)
    before = sys.getrefcount(spawned.module.data)
    data, spawned.module.data = spawned.module.data, None
    spawned.forget_rebound()
    assert sys.getrefcount(data) < before


def test_versions_count_the_objects_that_had_a_name(monkeypatch):
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    def make(name):
        exec(f"def {name}(): pass", main.__dict__)
        return main.__dict__[name]

    first = make("function")
    assert scripts.tag_of(first)[1:] == scripts.tag_of(first)[1:]
    second = make("function")
    assert scripts.tag_of(second)[2] == scripts.tag_of(first)[2] + 1
    assert scripts.by_name(second) == "function" and scripts.by_name(first) is None
    assert scripts.resolve(scripts.tag_of(first)) is first
    tag = scripts.tag_of(first)
    del first
    assert scripts.resolve(tag) is None


def test_objects_from_outside_the_script_have_no_tag():
    for value in (print, pytest, lambda: None, types.ModuleType, 5):
        assert scripts.tag_of(value) is None
