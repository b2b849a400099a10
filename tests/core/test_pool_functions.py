"""A pool's functions: numbered once, forgotten when they have gone."""

from cmpi.pool.functions import MAX_KEPT, Functions


class Buffers:
    """Replaces a pool's buffers: counts what is packed."""

    packed = 0

    def pack(self, function, what, hoist):
        self.packed += 1
        return what


def make(value):
    return lambda: value


def test_a_function_has_one_number_and_is_pickled_once():
    functions = Functions(Buffers())
    f = make(1)
    assert functions.number(f) == functions.number(f) and functions._buffers.packed == 1


def test_a_collected_function_is_forgotten_when_its_tasks_are_over():
    functions = Functions(Buffers())
    f, other = make(1), make(2)
    first, also = functions.number(f), functions.number(f)
    second = functions.number(other)
    del f
    assert functions.release(first) == []  # a task that may be retried needs it
    assert functions.body(first)
    assert functions.release(also) == [first]
    assert functions.release(second) == []


def test_a_new_function_at_a_reused_address_gets_its_own_number():
    functions = Functions(Buffers())
    numbers = [functions.number(make(i)) for i in range(50)]  # most of them with the same id
    assert len(set(numbers)) == 50
    forgotten = [each for number in numbers for each in functions.release(number)]
    assert sorted(forgotten) == sorted(numbers)
    assert not functions._kept and not functions._bodies


def test_the_oldest_of_too_many_live_functions_is_forgotten():
    functions = Functions(Buffers())
    alive = [make(i) for i in range(MAX_KEPT + 1)]
    forgotten = [each for f in alive for each in functions.release(functions.number(f))]
    assert forgotten == [0]
    assert functions.number(alive[0]) == MAX_KEPT + 1
