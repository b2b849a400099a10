"""Tries that fail become rarer; those that succeed are made every time."""

from cmpi._core.channel.backoff import Backoff


def pattern(worked, occasions):
    backoff, tries = Backoff(), []
    for i in range(occasions):
        if backoff.due:
            backoff.tried(worked(len(tries)))
            tries.append(i)
    return tries


def test_what_works_is_tried_every_time():
    assert pattern(lambda _: True, 20) == list(range(20))


def test_what_is_in_vain_is_left_out_twice_as_often_each_time():
    assert pattern(lambda _: False, 300) == [0, 2, 5, 10, 19, 36, 69, 134, 199, 264]


def test_one_success_and_it_is_tried_every_time_again():
    assert pattern(lambda n: n == 3, 25) == [0, 2, 5, 10, 11, 13, 16, 21]
