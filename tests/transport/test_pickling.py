"""Pickling: a reused pickler keeps nothing of one value for the next."""

import gc
import threading
import weakref

import numpy as np
import pytest

from cmpi._transport import pickling
from cmpi.errors import NotPicklable


def there_and_back(value):
    message = pickling.dumps(value)
    if isinstance(message, bytes):
        return pickling.loads(message)
    return pickling.loads(message.body, message.buffers)


class Thing:
    def __init__(self, inner):
        self.inner = inner


class Nested:
    """Pickles something else while it is being pickled."""

    def __reduce__(self):
        return there_and_back, (there_and_back(("inside", 1)),)


class Fails:
    def __reduce__(self):
        raise RuntimeError("not me")


def test_pickling_an_object_twice_in_a_row_gives_it_whole_both_times():
    value = ("abc", [1, 2])
    assert [there_and_back(value) for _ in range(3)] == [value] * 3
    shared = [1]
    first, second = there_and_back((shared, shared))
    assert first is second


def test_nothing_that_was_pickled_is_kept_alive():
    for size in (1, 10_000):  # a pickler that is reused, and one that is not
        thing = Thing([0] * size)
        gone = weakref.ref(thing)
        pickling.dumps(thing)
        del thing
        gc.collect()
        assert gone() is None


def test_nested_and_failing_pickling_leave_the_pickler_usable():
    for _ in range(3):
        assert there_and_back([Nested(), "after"]) == [("inside", 1), "after"]
        with pytest.raises(NotPicklable, match="item 1: not me"):
            pickling.dumps(("before", Fails()))
        assert there_and_back(("then", 2)) == ("then", 2)


@pytest.mark.parametrize("nbytes", [255, 256, 257, 65_535, 65_536, 200_000])
def test_values_of_any_size_arrive(nbytes):
    for value in (b"x" * nbytes, ["x" * nbytes], list(range(nbytes // 8)), bytearray(nbytes)):
        assert there_and_back(value) == value
    array = np.arange(nbytes // 8)
    back = there_and_back({"a": array, "b": (array, 1)})
    assert (back["a"] == array).all() and back["b"][0] is back["a"]


def test_several_threads_pickle_at_once():
    wrong = []

    def work(i):
        for n in range(2000):
            value = (i, n, str(n), [i] * (n % 100))
            if there_and_back(value) != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
