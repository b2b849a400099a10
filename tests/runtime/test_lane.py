"""Two lanes, linked in memory, with real rings and segments between them, under any interleaving."""

import random
import shutil
import tempfile
import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cmpi._core import link_frames
from cmpi._ids import Pid
from cmpi._runtime.lane import Lane
from cmpi._transport import ring
from tests.transport.memory_link import MemoryLink

pytestmark = pytest.mark.skipif(not ring.usable(), reason="this machine does not keep stores in order")


class Node:
    """What a lane needs of its node."""

    def __init__(self, pid, folder, limit):
        self.pid, self.lock, self.linking = pid, threading.RLock(), False
        self.shared_memory, self.shared_memory_bytes = folder, limit
        self.bell, self.rung, self.nudged = self, False, False
        self.other = None

    def ring(self, pid, sent):
        self.other.rung = True
        self.other.lane.announced = max(self.other.lane.announced, sent)

    def nudge(self):
        self.nudged = True

    def watch(self, pid):
        pass

    def tell_root(self, frame):
        pass


class LanesUnderAnyInterleaving(RuleBasedStateMachine):
    """Messages travel small, by MPI or in slots, in the order in which they were posted."""

    @initialize(
        seed=st.integers(0, 5),
        limit=st.sampled_from([1 << 16, 16 << 20]),
        shared=st.sampled_from([True, True, True, False]),
        warm=st.sampled_from([True, True, True, False]),
    )
    def start(self, seed, limit, shared, warm):
        self.folder = tempfile.mkdtemp()
        choice = random.Random(seed)
        self.nodes = [Node(Pid(i + 1), self.folder if shared else "", limit) for i in range(2)]
        self.links = [MemoryLink(choice), MemoryLink(choice)]
        self.posted, self.heard = ([], []), ([], [])
        self.last = [False, False]
        self.held = deque(maxlen=3)
        self.free_again = [0, 0]
        self.lent = [0, 0]
        for i, node in enumerate(self.nodes):
            node.other, self.links[i].peer = self.nodes[1 - i], self.links[1 - i]
            node.lane = Lane(node, self.nodes[1 - i].pid, Listener(self, i))
            node.lane.link = self.links[i]
            self.links[i].may_be_used = lambda node=node: not node.linking
        if warm:
            for side in (0, 1, 0, 1):
                self.small(side, 10, 10)
                self.large(side, [70_000])
                self.run_dry()
            if shared and limit > 1 << 20:
                assert all(node.lane._reading and node.lane._filled for node in self.nodes)

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        for side, node in enumerate(self.nodes):
            if node.linking:
                self.link_elsewhere(side, False)
        self.run_dry()
        for i in range(2):
            assert self.heard[i] == self.posted[1 - i]
            assert self.free_again[i] == self.lent[i], "buffers that MPI read from are free again"
        for node in self.nodes:
            node.lane.free()
        self.held.clear()
        shutil.rmtree(self.folder)

    def run_dry(self):
        """Only who was rung for, or has something under way, looks: as the progress thread does."""
        for _ in range(100_000):
            busy = False
            for node in self.nodes:
                if node.rung or node.nudged or node.lane.restless or node.lane.watched:
                    node.rung = node.nudged = False
                    busy = True
                    self.advance(node)
            if not busy:
                return
        pytest.fail("it never comes to rest")

    def advance(self, node):
        """As a peer does it: with both goodbyes said, the link is let go, and must be empty."""
        side = self.nodes.index(node)
        node.lane.progress()
        if self.last[side] and "bye" in self.heard[side] and not node.lane.busy and not node.lane.freed:
            left = [*self.links[side].heads, *self.links[1 - side]._sends]
            assert not left, f"unread in MPI: {left}"
            node.lane.free()

    def note(self, side, message):
        if not self.last[side]:
            self.posted[side].append(message)

    @rule(side=st.integers(0, 1), times=st.integers(1, 40), size=st.sampled_from([0, 10, 5_000, 60_000]))
    def small(self, side, times, size):
        for i in range(times):
            body = bytes([i]) * size
            self.note(side, (9, body, []))
            self.nodes[side].lane.post_small(9, body)

    @rule(side=st.integers(0, 1), sizes=st.lists(st.sampled_from([1, 70_000, 900_000]), max_size=3))
    def large(self, side, sizes):
        lane = self.nodes[side].lane
        buffers = [np.full(n, i + 1, np.uint8) for i, n in enumerate(sizes)]
        places, numbers, by_mpi = lane.reserve(sizes), [], []
        for buffer, place in zip(buffers, places):
            if place is None:
                numbers += (0, 0, 0)
                by_mpi.append(buffer)
            else:
                place.fill(buffer)
                numbers += place.sent()
                buffer[:] = 99
        self.note(side, (8, b"head", [(n, i + 1) for i, n in enumerate(sizes)]))
        frame = link_frames.Data(8, sizes, numbers, b"head")
        if by_mpi and not self.last[side]:
            self.lent[side] += 1

        def done():
            self.free_again[side] += 1
            for buffer in by_mpi:
                buffer[:] = 77

        lane.post(frame, by_mpi, done)

    @rule(side=st.integers(0, 1), wake=st.booleans())
    def other_frame(self, side, wake):
        self.note(side, "fin")
        self.nodes[side].lane.post(link_frames.Fin(7), wake=wake)
        if not wake:  # nobody need look; somebody does, some time
            self.nodes[1 - side].nudged = True

    @rule(side=st.integers(0, 1))
    def progress(self, side):
        self.advance(self.nodes[side])

    @rule(side=st.integers(0, 1))
    def look(self, side):
        self.nodes[side].lane.look(1)

    @rule(side=st.integers(0, 1), linking=st.booleans())
    def link_elsewhere(self, side, linking):
        node = self.nodes[side]
        node.linking = linking
        if not linking:
            node.lane.flush()
            node.nudged = True

    @rule(side=st.integers(0, 1), really=st.sampled_from([False, False, True]))
    def say_bye(self, side, really):
        if really and not self.last[side]:
            self.note(side, "bye")
            self.last[side] = True
            self.nodes[side].lane.post_last(link_frames.Bye())


class Listener:
    def __init__(self, machine, side):
        self.machine, self.side = machine, side

    def hear_small(self, number, body):
        self.machine.heard[self.side].append((number, body, []))
        return False

    def hear(self, frame, buffers):
        if isinstance(frame, link_frames.Data):
            for buffer in buffers:
                array = np.frombuffer(buffer, np.uint8)
                assert (array == array[0]).all()
            what = [(len(buffer), int(np.frombuffer(buffer, np.uint8)[0])) for buffer in buffers]
            self.machine.heard[self.side].append((frame.channel, frame.body, what))
            self.machine.held.append(buffers)  # slots are given back late, in another order
        else:
            name = "bye" if isinstance(frame, link_frames.Bye) else "fin"
            self.machine.heard[self.side].append(name)


LanesUnderAnyInterleaving.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, derandomize=True
)
TestLanesUnderAnyInterleaving = LanesUnderAnyInterleaving.TestCase


def test_an_answer_that_comes_after_the_last_frame_has_no_consequence(tmp_path):
    machine = LanesUnderAnyInterleaving()
    machine.heard, machine.held = ([], []), deque()
    nodes = [Node(Pid(i + 1), str(tmp_path), 0) for i in range(2)]
    links = [MemoryLink(random.Random(0)), MemoryLink(random.Random(0))]
    for i, node in enumerate(nodes):
        node.other, links[i].peer, links[i].lucky = nodes[1 - i], links[1 - i], lambda: True
        node.lane = Lane(node, nodes[1 - i].pid, Listener(machine, i))
        node.lane.link = links[i]
    one, two = (node.lane for node in nodes)
    for i in range(20):
        one.post_small(1, b"%d" % i)
    one.post_last(link_frames.Bye())
    for lane in (one, two, one, two):
        lane.progress()
    assert machine.heard[1][-1] == "bye" and links[1].sent == 1, "the answer to the ring's offer"
    assert one._writer is None and links[0].sent == 22, "twenty messages, the offer, and goodbye"
