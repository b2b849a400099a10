"""The allocator of payload slots: no two overlap, all lie inside, and freed memory can be allocated
again."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmpi._core.channel.allocator import ALIGNMENT, Allocator

TOTAL, COUNT = 64 * ALIGNMENT, 8


class SlotsInUse(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.slots = Allocator(TOTAL, COUNT)
        self.held = {}  # index: (offset, nbytes)

    def gaps(self):
        """The free pieces, computed only from the slots that are held."""
        at, found = 0, []
        for offset, nbytes in sorted(self.held.values()):
            found.append(offset - at)
            at = offset + -(-nbytes // ALIGNMENT) * ALIGNMENT
        return [*found, TOTAL - at]

    @rule(nbytes=st.integers(1, TOTAL + 1))
    def allocate(self, nbytes):
        possible = len(self.held) < COUNT and any(gap >= nbytes for gap in self.gaps())
        got = self.slots.allocate(nbytes)
        assert (got is not None) == possible
        if got is not None:
            index, offset = got
            assert index not in self.held and 0 <= index < COUNT
            self.held[index] = (offset, nbytes)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data):
        index = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[index]
        self.slots.free(index)

    @invariant()
    def apart_aligned_and_inside(self):
        assert sorted(self.slots.used) == sorted(self.held)
        end = 0
        for offset, nbytes in sorted(self.held.values()):
            assert offset >= end and offset % ALIGNMENT == 0
            end = offset + nbytes
        assert end <= TOTAL


TestSlotsInUse = SlotsInUse.TestCase


def test_the_lowest_free_offset_is_used_first():
    slots = Allocator(1 << 20, 4)
    first, second = slots.allocate(1000), slots.allocate(1000)
    assert (first[1], second[1]) == (0, 1024)
    slots.free(first[0])
    assert slots.allocate(10)[1] == 0
