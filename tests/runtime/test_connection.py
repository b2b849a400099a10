"""Two connections to each other in memory, with real rings and segments between them, under any
interleaving."""

import os
import random
import select
import shutil
import socket
import tempfile
from collections import deque

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cmpi._core.protocol import process_process
from cmpi._core.protocol.wire import encode_bare
from cmpi._runtime.process.connection import Connection
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._transport import ring
from cmpi._transport.socket_transport import DIRECT, SocketTransport
from cmpi.identifiers import Pid
from tests.transport.memory_transport import MemoryTransport

pytestmark = pytest.mark.skipif(not ring.usable(), reason="this machine does not keep stores in order")


class Node:
    """What a connection needs of its process."""

    def __init__(self, pid, folder, limit, shares):
        self.pid, self.lock, self.connecting = pid, NodeLock(), False
        self.shared_memory, self.shared_memory_bytes = folder, limit
        self.shares, self.likely = shares, False
        self.doorbell, self.rung, self.nudged, self.full = self, False, False, False
        self.other = None
        self.wants_link = False

    def ring(self, pid, sent):
        if self.full:
            self.full = False
            self.other.rung = True  # by the messages that have filled it
            return False
        self.other.rung = True
        self.other.connection.rung(sent)
        return True

    def shares_memory(self, pid):
        return self.shares

    def likely_shares_memory(self, pid):
        return self.shares is None and self.likely

    def nudge(self):
        self.nudged = True

    def watch(self, pid):
        pass

    def tell_root(self, frame):
        self.wants_link = True


class ConnectionsUnderAnyInterleaving(RuleBasedStateMachine):
    """Messages travel small, large or in slots, through rings or by MPI, in the order in which they were
    posted."""

    @initialize(
        seed=st.integers(0, 5),
        limit=st.sampled_from([1 << 16, 16 << 20]),
        shared=st.sampled_from([(True, True), (True, True), (True, False), (False, True), (False, False)]),
        warm=st.sampled_from([True, True, True, False]),
        likely=st.sampled_from([None, None, True, False]),
    )
    def start(self, seed, limit, shared, warm, likely):
        """`likely`: whether memory that is likely to be shared turns out to be so."""
        self.folder = tempfile.mkdtemp()
        folders = [self.folder, self.folder]
        if likely is False:
            folders = [f"{self.folder}/{i}" for i in range(2)]
            for folder in folders:
                os.mkdir(folder)
        choice = random.Random(seed)
        self.nodes = [Node(Pid(i + 1), folders[i], limit, shared[i] or None) for i in range(2)]
        self.turns_out = likely
        if likely is not None:
            for node in self.nodes:
                node.shares, node.likely = None, True
        self.transports = [MemoryTransport(choice), MemoryTransport(choice)]
        self.posted, self.heard = ([], []), ([], [])
        self.last = [False, False]
        self.held = deque(maxlen=3)
        self.free_again = [0, 0]
        self.lent = [0, 0]
        for i, node in enumerate(self.nodes):
            node.other, self.transports[i].peer = self.nodes[1 - i], self.transports[1 - i]
            node.connection = lane_to(self, i, node, self.nodes[1 - i].pid)
            self.transports[i].may_be_used = lambda node=node: not node.connecting
        if warm:
            self.the_root_tells(0)
            self.the_root_tells(1)
            for side in (0, 1, 0, 1):
                self.small(side, 10, 10)
                self.large(side, [70_000])
                self.run_dry()
            if all(node.shares for node in self.nodes) and limit > 1 << 20:
                assert all(node.connection._payloads._filled for node in self.nodes)

    @rule(side=st.integers(0, 1))
    def the_root_tells(self, side):
        """The root tells whether memory is shared, and arranges a transport if one side asks for it."""
        node = self.nodes[side]
        if node.shares is None:
            node.shares = bool(self.turns_out)
            node.connection.learn()
        if any(node.wants_link for node in self.nodes) and not any(node.connecting for node in self.nodes):
            for i, each in enumerate(self.nodes):
                if each.connection.transport is None:
                    each.connection.transport = self.transports[i]
                    each.connection.flush()
                    each.nudged = True

    @rule(side=st.integers(0, 1))
    def a_bell_is_full(self, side):
        self.nodes[side].full = True

    @rule(side=st.integers(0, 1))
    def there_is_no_room_for_a_larger_ring(self, side):
        writer = self.nodes[side].connection._writer
        if writer is not None:
            larger = ring._file(writer._path, writer._number + 1)
            open(f"{larger}~", "w").close()  # the place where it would be created

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        for side, node in enumerate(self.nodes):
            if node.connecting:
                self.link_elsewhere(side, False)
        for _ in range(2):
            self.the_root_tells(0)
            self.the_root_tells(1)
            self.run_dry()
        for i in range(2):
            assert self.heard[i] == self.posted[1 - i]
            assert self.free_again[i] == self.lent[i], "buffers that MPI read from are free again"
        for node in self.nodes:
            node.connection.free()
        self.held.clear()
        shutil.rmtree(self.folder)

    def run_dry(self):
        """Only a side that was rung for, or has something in progress, looks, as in the progress thread."""
        for _ in range(100_000):
            busy = False
            for node in self.nodes:
                if (
                    node.rung
                    or node.nudged
                    or node.connection.restless
                    or node.connection.ring_inbox.watched
                ):
                    node.rung = node.nudged = False
                    busy = True
                    self.advance(node)
            if not busy:
                return
        pytest.fail("it never comes to rest")

    def advance(self, node):
        """Do what a peer does: after both goodbyes, free the connection, which must be empty."""
        side = self.nodes.index(node)
        node.connection.progress()
        said = self.last[side] and "bye" in self.heard[side]
        if (
            said
            and node.connection.transport
            and not node.connecting
            and not node.connection.busy
            and not node.connection.freed
        ):
            left = [*self.transports[side].heads, *self.transports[1 - side]._sends]
            assert not left, f"unread in MPI: {left}"
            node.connection.free()

    def note(self, side, message):
        if not self.last[side]:
            self.posted[side].append(message)

    @rule(side=st.integers(0, 1), times=st.integers(1, 40), size=st.sampled_from([0, 10, 5_000, 60_000]))
    def small(self, side, times, size):
        for i in range(times):
            body = bytes([i]) * size
            self.note(side, (9, body, []))
            self.nodes[side].connection.post_small(9, body)

    head_length = 1

    @rule(side=st.integers(0, 1), sizes=st.lists(st.sampled_from([0, 1, 70_000, 900_000]), max_size=3))
    def large(self, side, sizes):
        connection = self.nodes[side].connection
        buffers = [np.full(n, i + 1, np.uint8) for i, n in enumerate(sizes)]
        places, numbers, by_mpi = connection.reserve(sizes), [], []
        for buffer, place in zip(buffers, places):
            if place is None:
                numbers += (0, 0, 0)
                by_mpi.append(buffer)
            else:
                place.fill(buffer)
                numbers += place.sent()
                buffer[:] = 99
        head = b"head" * self.head_length
        self.note(side, (8, head, [(n, i + 1) for i, n in enumerate(sizes)]))
        frame = process_process.Data(8, sizes, numbers, head)
        if by_mpi and not self.last[side]:
            self.lent[side] += 1

        def done():
            self.free_again[side] += 1
            for buffer in by_mpi:
                buffer[:] = 77

        connection.post(frame, by_mpi, done)

    @rule(side=st.integers(0, 1))
    def long_head(self, side):
        self.head_length = 50_000
        self.large(side, [])
        self.head_length = 1

    @rule(side=st.integers(0, 1), wake=st.booleans())
    def other_frame(self, side, wake):
        self.note(side, "fin")
        self.nodes[side].connection.post(process_process.Fin(7), wake=wake)
        if not wake:  # nobody needs to look now; somebody will at some time
            self.nodes[1 - side].nudged = True

    @rule(side=st.integers(0, 1))
    def progress(self, side):
        self.advance(self.nodes[side])

    @rule(side=st.integers(0, 1))
    def look(self, side):
        self.nodes[side].connection.ring_inbox.look(0.0)

    @rule(side=st.integers(0, 1), connecting=st.booleans())
    def link_elsewhere(self, side, connecting):
        node = self.nodes[side]
        node.connecting = connecting
        if not connecting:
            node.connection.flush()
            node.nudged = True

    @rule(side=st.integers(0, 1), really=st.sampled_from([False, False, True]))
    def say_bye(self, side, really):
        if really and not self.last[side]:
            self.note(side, "bye")
            self.last[side] = True
            self.nodes[side].connection.post_last(process_process.Bye(False))


def lane_to(machine, side, node, pid):
    listener = Listener(machine, side)
    return Connection(node, pid, listener.on_frame, listener.on_small)


def deaf(*heard):
    raise AssertionError(f"nothing was to come here: {heard}")


class Listener:
    def __init__(self, machine, side):
        self.machine, self.side = machine, side

    def on_small(self, number, body):
        self.machine.heard[self.side].append((number, body, []))
        return False

    def on_frame(self, frame, buffers):
        if isinstance(frame, process_process.Data):
            for buffer in buffers:
                array = np.frombuffer(buffer, np.uint8)
                assert (array == array[:1]).all()
            firsts = [np.frombuffer(buffer, np.uint8)[:1] for buffer in buffers]
            what = [
                (len(b), int(first[0]) if len(b) else i)
                for i, (b, first) in enumerate(zip(buffers, firsts), 1)
            ]
            self.machine.heard[self.side].append((frame.channel, frame.body, what))
            self.machine.held.append(buffers)  # slots are returned late, in another order
        else:
            name = "bye" if isinstance(frame, process_process.Bye) else "fin"
            self.machine.heard[self.side].append(name)


ConnectionsUnderAnyInterleaving.TestCase.settings = settings(
    max_examples=2 * settings.default.max_examples, stateful_step_count=30
)
TestConnectionsUnderAnyInterleaving = ConnectionsUnderAnyInterleaving.TestCase


def test_sent_messages_can_be_read_after_their_writer_has_exited(tmp_path):
    machine = ConnectionsUnderAnyInterleaving()
    machine.heard, machine.held = ([], []), deque()
    nodes = [Node(Pid(i + 1), str(tmp_path), 0, True) for i in range(2)]
    for i, node in enumerate(nodes):
        node.other = nodes[1 - i]
        node.connection = lane_to(machine, i, node, nodes[1 - i].pid)
    one, two = (node.connection for node in nodes)
    # A peer that has not joined yet hears no bell.
    nodes[1].connection = Connection(nodes[1], Pid(9), deaf, deaf)
    for i in range(2000):
        one.post_small(1, b"%04d" % i)
    assert one.idle
    one.free()
    two.ring_inbox.map()
    two.progress()
    assert [body for _, body, _ in machine.heard[1]] == [b"%04d" % i for i in range(2000)]
    two.free(peer_ended=True)
    assert not list(tmp_path.iterdir())


def test_shared_files_are_removed_when_their_reader_has_ended(tmp_path):
    node, other = (Node(Pid(i + 1), str(tmp_path), 16 << 20, True) for i in range(2))
    node.other, other.connection = other, Connection(other, Pid(9), deaf, deaf)
    connection = Connection(node, other.pid, deaf, deaf)
    connection.post_small(1, b"x" * 20_000)
    connection.reserve([100_000])
    assert len(list(tmp_path.iterdir())) == 3, "a ring, a larger one, and a segment"
    connection.hush()
    connection.free(peer_ended=True)
    assert not list(tmp_path.iterdir())


def test_a_complete_message_is_delivered_although_the_connection_closed_after_it():
    node, heard = Node(Pid(1), "", 0, False), []
    node.sockets = select.epoll()
    connection = Connection(node, Pid(2), lambda *it: heard.append(it), lambda *it: True)
    ours, theirs = socket.socketpair()
    connection.resume(ours, 0, DIRECT)
    peer = SocketTransport(theirs)
    peer.send(encode_bare(process_process.Data(1, [4], [0, 0, 0], b"body")))
    peer.send_buffers([b"abcd"], None)
    peer.free()
    connection.socket_inbox.scan()
    ((frame, buffers),) = heard
    assert frame.body == b"body" and bytes(buffers[0]) == b"abcd" and node.nudged
    assert not connection.socket_inbox.usable and connection.socket.down and connection.socket.dropped
    assert not node.sockets.poll(0)
    connection.free()
    node.sockets.close()
