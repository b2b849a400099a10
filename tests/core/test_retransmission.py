"""Two ends of a connection whose sockets drop at any byte: each byte is taken in once, in order."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmpi._core.channel import retransmission
from cmpi._core.channel.retransmission import Retransmission, tail_bytes
from cmpi.errors import ProtocolError

SIDES = st.integers(0, 1)
SIZES = st.sampled_from([0, 1, 10, 100, 1000])


class StreamsOverSocketsThatDrop(RuleBasedStateMachine):
    """A socket is two byte strings on their way. What is on its way when it drops arrives in part."""

    @initialize(seed=st.integers(0, 5))
    def start(self, seed):
        self.limits = {
            "ACKNOWLEDGE_BYTES": 50,
            "ACKNOWLEDGE_LATER_BYTES": 200,
            "TAIL_BYTES": 100,
            "LONGEST_TAIL_BYTES": 200,
        }
        self.before = {name: getattr(retransmission, name) for name in self.limits}
        for name, value in self.limits.items():
            setattr(retransmission, name, value)
        self.choice = random.Random(seed)
        self.ends = [Retransmission(), Retransmission()]
        self.up = [True, True]
        self.wire = [bytearray(), bytearray()]  # towards each end
        self.told = [[], []]  # acknowledgements towards each end, which follow their own way
        self.put, self.got = [bytearray(), bytearray()], [bytearray(), bytearray()]
        self.lent = [[], []]  # buffers that are not returned yet

    def teardown(self):
        if not hasattr(self, "ends"):
            return
        try:
            self.reconnect(False, False)
            for _ in range(2):
                for side in (0, 1):
                    self.write(side, 1 << 20)
                    self.arrive(1 - side, 1 << 20, True)
                for side in (0, 1):
                    while self.told[side]:
                        self.ends[side].acknowledge(self.told[side].pop(0))
            for side in (0, 1):
                assert self.got[1 - side] == self.put[side]
                assert not self.lent[side], "buffers are returned although the socket dropped"
                assert not self.ends[side].waiting
        finally:
            for name, value in self.before.items():
                setattr(retransmission, name, value)

    @rule(side=SIDES, size=SIZES, at_once=st.sampled_from([0, 0, 5, 5000]))
    def frame(self, side, size, at_once):
        data = self.choice.randbytes(size + 1)
        self.put[side] += data
        at_once = min(at_once, len(data)) if self.up[side] and not self.ends[side].waiting else 0
        self.wire[1 - side] += data[:at_once]
        self.ends[side].add(data, at_once)

    @rule(side=SIDES, sizes=st.lists(SIZES, min_size=1, max_size=3))
    def message(self, side, sizes):
        buffers = [bytearray(self.choice.randbytes(size)) for size in sizes]
        self.put[side] += b"".join(buffers)
        self.lent[side].append(buffers)

        def done():
            assert self.lent[side].pop(0) is buffers, "in order"
            left = self.ends[side].sent - self.ends[side].acknowledged
            assert left <= tail_bytes(sum(sizes)) + len(self.put[side]) - end
            for buffer in buffers:
                buffer[:] = bytes(len(buffer))
                buffer.append(1)  # refused while anything refers to its memory

        end = len(self.put[side])
        self.ends[side].lend([memoryview(buffer) for buffer in buffers], done)

    @rule(side=SIDES, most=st.sampled_from([1, 7, 50, 300, 3000]))
    def write(self, side, most):
        end = self.ends[side]
        while self.up[side] and most and end.waiting:
            data = b"".join(end.pieces(self.choice.randint(1, 4)))[:most]
            most -= len(data)
            self.wire[1 - side] += data
            end.wrote(len(data))

    @rule(side=SIDES, most=st.sampled_from([1, 7, 50, 300, 3000]), whole=st.booleans())
    def arrive(self, side, most, whole):
        data = bytes(self.wire[side][:most]) if self.up[side] else b""
        if data:
            del self.wire[side][:most]
            self.got[side] += data
            if self.ends[side].took(len(data), whole=whole):
                self.told[1 - side].append(self.ends[side].tell())

    @rule(side=SIDES)
    def hear(self, side):
        """An acknowledgement comes, perhaps an old one again, as in a stream that is sent again."""
        if self.told[side]:
            position = self.told[side].pop(0) if self.choice.random() < 0.8 else self.told[side][0]
            self.ends[side].acknowledge(position)

    @rule(side=SIDES)
    def one_end_notices_that_the_socket_drops(self, side):
        self.up[side] = False
        self.wire[side].clear()
        del self.wire[1 - side][self.choice.randint(0, len(self.wire[1 - side])) :]

    @rule(fails=st.booleans(), early=st.booleans())
    def reconnect(self, fails, early):
        """There is a new socket; if it `fails`, only one end knows its position, and may write already."""
        for wire in self.wire:
            wire.clear()
        positions = [end.tell() for end in self.ends]
        self.up = [True, not fails]
        self.ends[0].resume(positions[1])
        if not fails:
            self.ends[1].resume(positions[0])
        elif early:
            self.write(0, 300)
            self.wire[1].clear()

    @invariant()
    def what_came_is_the_beginning_of_what_was_sent(self):
        if hasattr(self, "ends"):
            for side in (0, 1):
                end, other = self.ends[side], self.ends[1 - side]
                assert self.put[side].startswith(self.got[1 - side])
                assert end.acknowledged <= other.received <= end.sent == len(self.put[side])
                assert end.lending == bool(self.lent[side])


TestStreamsOverSocketsThatDrop = StreamsOverSocketsThatDrop.TestCase
TestStreamsOverSocketsThatDrop.settings = settings(
    max_examples=4 * settings.default.max_examples, stateful_step_count=40
)


@pytest.mark.parametrize("position", [4, 11])
def test_a_position_that_this_end_cannot_go_on_from_is_refused(position):
    end = Retransmission()
    end.add(b"0123456789")
    end.wrote(10)
    end.acknowledge(5)
    with pytest.raises(ProtocolError):
        end.resume(position)


def test_an_empty_buffer_is_returned_when_nothing_refers_to_it():
    end, buffer = Retransmission(), bytearray()
    end.add(b"0", 1)
    end.lend([memoryview(buffer)], lambda: buffer.append(1))
    end.acknowledge(1)
    assert end.lending and not buffer
    end.wrote(0)
    assert not end.lending and buffer


def test_what_is_acknowledged_is_not_kept():
    end = Retransmission()
    for _ in range(100):
        end.add(bytes(1000))
    end.wrote(100_000)
    end.acknowledge(99_500)
    assert len(end._kept) == 1 and not end.waiting


def test_an_acknowledgement_of_what_was_never_written_is_refused():
    end = Retransmission()
    end.add(b"0123456789")
    with pytest.raises(ProtocolError):
        end.acknowledge(1)
