"""Streams of messages: results come as the messages do, all of them before an error, and none is waited for
while results are ready."""

import concurrent.futures
import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi import data
from cmpi.errors import EndOfChannel, UsageError


class Script:
    """A receiver that follows a script: a row, None (nothing has arrived yet), or an exception.

    It ends after the script, and `waits` has the timeouts with which it was asked while nothing was there.
    """

    def __init__(self, *events):
        self.events, self.waits = deque(events), []

    def recv(self, *, timeout=None):
        event = self.events.popleft() if self.events else EndOfChannel("the end")
        if event is None and timeout is None:
            return self.recv()
        if event is None:
            self.waits.append(timeout)
            raise TimeoutError
        if isinstance(event, Exception):
            self.events.appendleft(event)
            raise event
        return event


def of(receiver, pool=None):
    return data.channel(receiver, pool=pool or data.Serial())


@given(events=st.lists(st.none() | st.integers(), max_size=60), n=st.integers(0, 5))
def test_each_message_is_one_row_in_order(events, n):
    rows = [event for event in events if event is not None]
    assert list(of(Script(*events)).map(lambda x: x + 1)) == [x + 1 for x in rows]
    assert of(Script(*events)).sort().collect() == sorted(rows)
    assert of(Script(*events)).take(n).collect() == rows[:n]
    assert of(Script(*events)).chain(data.of([7])).count() == len(rows) + 1
    pairs = [of(Script(*events)).map(lambda x: (x, x)) for _ in range(2)]
    assert {key for key, _ in pairs[0].inner_join(pairs[1])} == set(rows)


def test_rows_are_delivered_before_more_messages_are_waited_for():
    script = Script(1, 2, None, None, 3, None)
    rows = iter(of(script))
    assert next(rows) == 1 and next(rows) == 2
    assert list(script.events) == [None, 3, None] and script.waits == [0]
    assert list(rows) == [3]


def test_a_result_is_delivered_while_no_message_comes():
    """The second message comes only when the result for the first one is there."""

    class Answers:
        def __init__(self):
            self.allowed, self.sent = threading.Semaphore(1), 0

        def recv(self, *, timeout=None):
            if not self.allowed.acquire(timeout=timeout):
                raise TimeoutError
            if self.sent == 20:
                raise EndOfChannel("the end")
            self.sent += 1
            return self.sent

    answers = Answers()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for row in of(answers, pool).map(lambda x: -x):
            assert row == -answers.sent
            answers.allowed.release()
    assert answers.sent == 20


def test_an_error_of_the_channel_comes_after_the_results_of_all_messages_before_it():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = iter(of(Script(1, None, 2, 3, ConnectionError("lost")), pool))
        assert [next(rows) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(ConnectionError, match="lost"):
            next(rows)
    with pytest.raises(ConnectionError, match="lost"):
        of(Script(ConnectionError("lost"))).count()


def test_messages_that_have_arrived_make_one_split_of_limited_size():
    sizes = of(Script(*range(3), None, *range(2000), None, 5)).map_batches(
        lambda rows: [len(rows)], format="list"
    )
    assert sizes.collect() == [3, 1024, 976, 1]
    large = Script(*[bytes(5 << 20)] * 3)
    assert of(large).map_batches(lambda rows: [len(rows)], format="list").collect() == [2, 1]


def test_bad_rows_are_counted_and_wrong_receivers_refused():
    rows, errors = of(Script(1, 0, None, 2)).map(lambda x: 2 // x).options(on_error="collect").collect()
    assert rows == [2, 1] and len(errors) == 1
    assert "channel <" in of(Script()).explain()
    with pytest.raises(UsageError, match=r"channel needs a receiver or a mailbox; found \[1\]"):
        of([1])
    with pytest.raises(TypeError, match="write_channel needs a sender; found 5"):
        of(Script()).write_channel(5)


def test_rows_are_sent_in_order_and_counted():
    class Out(list):
        send = list.append

    out = Out()
    assert data.range(1000, pool=data.Serial()).write_channel(out) == 1000 and out == list(range(1000))
    rows = data.of([1, 0, 2], pool=data.Serial()).map(lambda x: 2 // x).options(on_error="collect")
    assert rows.write_channel(Out())[0] == 2
