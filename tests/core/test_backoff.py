"""Tries that fail become rarer; those that succeed are made every time."""

from cmpi._core.channel.backoff import Backoff


def pattern(worked, occasions):
    backoff, tries = Backoff(), []
    for i in range(occasions):
        if backoff.due:
            backoff.tried(worked(len(tries)))
            tries.append(i)
    return tries


def test_no_try_is_skipped_after_a_success():
    assert pattern(lambda _: True, 20) == list(range(20))


def test_after_each_failure_twice_as_many_tries_are_skipped():
    assert pattern(lambda _: False, 300) == [0, 2, 5, 10, 19, 36, 69, 134, 199, 264]


def test_one_success_resets_the_backoff():
    assert pattern(lambda n: n == 3, 25) == [0, 2, 5, 10, 11, 13, 16, 21]
