"""A finalizer can tell whether an exception drops its object."""

import contextlib

import pytest

from cmpi._runtime.process.unwinding import unwinding

NAMES = [f"variable_{i}" for i in range(300)]  # so many that the bytecode needs EXTENDED_ARG


class Dropped:
    def __init__(self, log):
        self.log = log

    def use(self, value):
        return value

    def fail(self):
        raise ValueError

    def __del__(self):
        found = unwinding()
        self.log.append(None if found is None else "caught" if found.caught else "on its way")


def risky():
    raise ValueError


def temporary(log):
    Dropped(log).use(1)


def local(log):
    dropped = Dropped(log)
    dropped.use(1)


def deleted(log):
    dropped = Dropped(log)
    del dropped


def replaced(log):
    dropped = Dropped(log)
    dropped = None
    assert dropped is None


def in_a_list(log):
    [Dropped(log)].clear()


def behind_an_exception_that_was_caught(log):
    try:
        risky()
    except ValueError as error:
        kept = error
    Dropped(log).use(kept)


def beside_an_exception_that_is_handled(log):
    try:
        risky()
    except ValueError:
        Dropped(log).use(1)


def left_temporary(log):
    Dropped(log).use(risky())


def left_local(log):
    dropped = Dropped(log)
    dropped.use(risky())


def left_in_a_list(log):
    dropped = [Dropped(log)]
    dropped.append(risky())


def failing_itself(log):
    Dropped(log).fail()


def catch(f, log):
    try:
        f(log)
    except ValueError:
        pass


def catch_by_name(f, log):
    try:
        f(log)
    except ValueError as error:
        str(error)


def catch_and_return(f, log):
    try:
        f(log)
    except ValueError as error:
        return str(error)


def catch_by_context_manager(f, log):
    with contextlib.suppress(ValueError):
        f(log)


def catch_among_many_names(f, log):
    lines = "\n".join(f"{name} = 0" for name in NAMES)
    space = {"f": f, "log": log}
    exec(f"{lines}\ntry: f(log)\nexcept ValueError as late_name: pass", space)


CATCHES = [catch, catch_by_name, catch_and_return, catch_by_context_manager, catch_among_many_names]


@pytest.mark.parametrize("how", CATCHES)
@pytest.mark.parametrize(
    "f",
    [
        temporary,
        local,
        deleted,
        replaced,
        in_a_list,
        behind_an_exception_that_was_caught,
        beside_an_exception_that_is_handled,
    ],
)
def test_a_drop_without_an_exception_has_no_cause(f, how):
    log = []
    how(f, log)
    assert log == [None]


@pytest.mark.parametrize("how", CATCHES)
@pytest.mark.parametrize("f", [left_local, left_in_a_list, failing_itself])
def test_objects_kept_by_an_exception_are_dropped_with_it(f, how):
    log = []
    how(f, log)
    assert log == ["caught"]


@pytest.mark.parametrize("how", CATCHES)
def test_an_object_on_the_stack_is_dropped_at_once(how):
    log = []
    how(left_temporary, log)
    assert log == ["on its way"]
