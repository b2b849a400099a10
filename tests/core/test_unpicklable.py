import functools
import pickle
import threading

from cmpi._core.channel.unpicklable import path_to_unpicklable

LOCK = threading.Lock()


def fault(thing):
    import cloudpickle

    try:
        cloudpickle.dumps(thing)
    except Exception as error:
        return str(error)
    return None


class Config:
    def __init__(self):
        self.lock = threading.Lock()
        self.name = "x"

    def use(self):
        pass


def path(name, thing):
    return path_to_unpicklable(name, thing, fault)


def test_the_path_goes_through_closures_and_attributes():
    cfg = Config()

    def f():
        return cfg

    assert path("f", f) == "f -> closure 'cfg' -> attribute 'lock': cannot pickle '_thread.lock' object"


def test_the_path_goes_through_containers():
    assert path("args", {"a": [1, LOCK]}).startswith("args -> item 'a' -> item 1: cannot pickle")


def test_the_path_goes_through_defaults_globals_methods_and_partials():
    def with_default(x=LOCK):
        return x

    assert "default 0" in path("f", with_default)
    exec("def with_global(): return the_lock", scope := {"the_lock": LOCK})
    assert "global 'the_lock'" in path("f", scope["with_global"])
    assert path("f", Config().use).startswith(
        "f -> object of method 'use' -> attribute 'lock': cannot pickle"
    )
    assert "argument 'x'" in path("f", functools.partial(print, x=LOCK))


def test_a_cyclic_object_does_not_loop_forever():
    a = [LOCK]
    a.append(a)
    assert "item 0" in path("a", a)


def test_an_object_without_a_failing_part_is_named_itself():
    class Refuses:
        def __reduce__(self):
            raise pickle.PicklingError("no")

    assert path("value", Refuses()) == "value: no"
