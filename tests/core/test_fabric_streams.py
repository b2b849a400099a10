"""The streams between two fabric agents: processes write, read, stop and end in any order, and the agents'
world may fall at any moment."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmpi._core.fabric import streams
from cmpi._core.fabric.streams import MESSAGE_BYTES, PIECE_BYTES, WINDOW_BYTES, Streams
from cmpi.errors import ProtocolError

SIZES = st.sampled_from([1, 7, MESSAGE_BYTES // 2, PIECE_BYTES, WINDOW_BYTES])
SIDES = st.integers(0, 1)
PICK = st.integers(0, 5)


class StreamsUnderAnyOrder(RuleBasedStateMachine):
    """Each side has a process at each stream, which numbers the bytes that it writes."""

    @initialize()
    def start(self):
        self.pids, self.opened = iter(range(1, 1000)), 0
        self.begin()

    def begin(self):
        self.sides = [Streams(first=True), Streams(first=False)]
        self.wires = [deque(), deque()]  # messages to each side
        self.known = [{}, {}]  # by stream: what this side's process has read, and not taken
        self.wrote, self.came = {}, {}  # by (side that writes, stream): sequence of lengths, in bytes
        self.ended, self.heard = set(), set()

    def pick(self, side, pick, among=None):
        among = sorted(self.known[side]) if among is None else among
        return among[pick % len(among)] if among else None

    @rule(side=SIDES)
    def a_process_connects(self, side):
        pid = next(self.pids)
        stream = self.sides[side].open(pid)
        assert stream not in self.known[0] and stream not in self.known[1], "a number is used twice"
        self.known[side][stream] = 0
        for each in (0, 1):
            self.wrote[each, stream], self.came[each, stream] = bytearray(), bytearray()

    @rule(side=SIDES, pick=PICK, size=SIZES)
    def a_process_writes(self, side, pick, size):
        stream = self.pick(side, pick, [s for s in self.known[side] if (side, s) not in self.ended])
        if stream is None:
            return
        size = min(size, self.sides[side].room(stream))
        if size:
            data = bytes([(len(self.wrote[side, stream]) + stream) % 251]) * size
            self.wrote[side, stream] += data
            self.sides[side].read(stream, data)

    @rule(side=SIDES, pick=PICK, size=SIZES)
    def a_process_takes(self, side, pick, size):
        stream = self.pick(side, pick)
        if stream is not None:
            n = min(size, self.known[side][stream])
            self.known[side][stream] -= n
            self.sides[side].taken(stream, n)

    @rule(side=SIDES, pick=PICK)
    def a_process_ends(self, side, pick):
        stream = self.pick(side, pick, [s for s in self.known[side] if (side, s) not in self.ended])
        if stream is not None:
            self.ended.add((side, stream))
            self.sides[side].ended(stream)

    @rule(side=SIDES)
    def an_agent_sends(self, side):
        message = self.sides[side].message()
        if message is not None:
            self.wires[1 - side].append(message)

    @rule(side=SIDES)
    def a_message_arrives(self, side):
        if not self.wires[side]:
            return
        for event in self.sides[side].arrived(self.wires[side].popleft()):
            key = 1 - side, event.stream
            if isinstance(event, streams.Opened):
                assert event.stream not in self.known[side]
                self.known[side][event.stream] = 0
            elif isinstance(event, streams.BytesCame):
                assert key not in self.heard, "after the end"
                self.came[key] += event.data
                self.known[side][event.stream] += len(event.data)
            elif isinstance(event, streams.StreamEnded):
                self.heard.add(key)
                assert self.came[key] == self.wrote[key], "the end has overtaken bytes"

    @rule()
    def the_world_falls(self):
        """Whatever was under way is lost, and the processes go on from what they have counted."""
        self.what_came_is_the_beginning_of_what_was_written()
        self.begin()

    @invariant()
    def what_came_is_the_beginning_of_what_was_written(self):
        for key, came in getattr(self, "came", {}).items():
            wrote = self.wrote[key]
            assert len(came) <= len(wrote) and wrote[: len(came)] == came
            assert len(wrote) - len(came) <= WINDOW_BYTES

    @invariant()
    def a_stream_is_forgotten_when_both_sides_have_ended(self):
        for side in (0, 1):
            for stream in getattr(self, "known", [{}, {}])[side]:
                over = (side, stream) in self.ended and (1 - side, stream) in self.heard
                assert (stream in self.sides[side]) == (not over)

    def teardown(self):
        if not hasattr(self, "sides"):
            return
        for _ in range(1000):
            for side in (0, 1):
                for stream in list(self.known[side]):
                    self.a_process_takes(side, 0, 0)
                    n, self.known[side][stream] = self.known[side][stream], 0
                    self.sides[side].taken(stream, n)
                self.an_agent_sends(side)
                self.a_message_arrives(side)
        assert not any(self.wires) and self.came == self.wrote, "everything arrives in the end"
        for (writer, stream), came in self.came.items():
            if (writer, stream) not in self.ended and stream in self.sides[writer]:
                assert self.sides[writer].room(stream) > WINDOW_BYTES // 2, "credit came back"
            assert len(came) == len(self.wrote[writer, stream])


TestStreamsUnderAnyOrder = StreamsUnderAnyOrder.TestCase
TestStreamsUnderAnyOrder.settings = settings(max_examples=settings.default.max_examples)


def pair():
    one, other = Streams(first=True), Streams(first=False)
    stream = one.open(7)
    assert other.arrived(one.message()) == [streams.Opened(stream, 7)]
    return one, other, stream


def test_many_small_parts_make_one_message():
    one, other, stream = pair()
    for i in range(100):
        one.read(stream, b"%d" % i)
    events = other.arrived(one.message())
    assert one.message() is None and one.waiting_bytes == 0
    assert b"".join(event.data for event in events) == b"".join(b"%d" % i for i in range(100))


def test_a_reader_that_takes_nothing_stops_its_own_writer_only():
    one, other, stream = pair()
    free = one.open(8)
    one.read(stream, bytes(WINDOW_BYTES))
    assert (one.room(stream), one.room(free)) == (0, WINDOW_BYTES)
    while (message := one.message()) is not None:
        other.arrived(message)
    other.taken(stream, WINDOW_BYTES)
    assert one.arrived(other.message()) == [streams.Room(stream)]
    assert one.room(stream) == WINDOW_BYTES


@pytest.mark.parametrize(
    "wrong",
    [
        b"\0",
        b"\x02\0\0\0\0\x09\0\0\0ab",  # within the data
        b"\x02\x09\0\0\0\0\0\0\0",  # data for a stream that is not open
        b"\x04\x09\0\0\0\0\0\0\0",  # its end
        b"\x03\0\0\0\0\xff\xff\xff\xff",  # too much credit
        b"\x01\0\0\0\0\0\0\0\0",  # opened twice
        b"\x01\x04\0\0\0\0\0\0\0",  # opened by the wrong side
        b"\x09\0\0\0\0\0\0\0\0",
    ],
)
def test_what_no_agent_sends_is_a_protocol_error(wrong):
    one, _, stream = pair()
    assert stream == 0
    with pytest.raises(ProtocolError):
        one.arrived(wrong)
