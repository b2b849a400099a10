"""The root's loop and its connections, over real sockets."""

import os

import pytest

from cmpi._core.protocol import launcher_root, monitor_root
from cmpi._core.protocol.wire import encode
from cmpi._runtime.root.control_peers import ControlPeers
from cmpi._runtime.root.root_loop import RootLoop
from cmpi._transport.control_socket import ControlSocket, socket_pair
from cmpi.errors import ProtocolError

UP = monitor_root.MonitorUp(start=0, rank=0, os_pid=1, host="h", port="")


class Door:
    """Admits the connections that the test gives it."""

    deadline_s = None

    def __init__(self):
        self.read, self._write = os.pipe()
        self.waiting, self.fault = [], ""

    def fileno(self):
        return self.read

    def admit(self, now_s):
        admitted, self.waiting = self.waiting, []
        return admitted

    def close(self):
        os.close(self.read)
        os.close(self._write)


class Root:
    def __init__(self):
        self.loop, self.door = RootLoop(), Door()
        self.heard, self.said, self.gone = [], [], []
        self.peers = ControlPeers(self.loop, self.door, self.introduce, self.said.append)

    def introduce(self, peer, frame):
        if not isinstance(frame, monitor_root.MonitorUp):
            raise ProtocolError("who are you?")
        peer.title, peer.on_frame, peer.gone = "rank 0", self.on_frame, self.gone.append
        self.heard.append(frame)

    def on_frame(self, peer, frame):
        if isinstance(frame, monitor_root.MonitorUp):
            raise ProtocolError("not twice")
        self.heard.append(frame)

    def comes(self):
        """The other end of a new connection."""
        ours, theirs = socket_pair()
        self.door.waiting.append(ours)
        self.peers.admit(0.0)
        return ControlSocket(theirs, monitor_root.TO_MONITOR)

    def turn(self):
        self.loop.turn(0)


@pytest.fixture
def root():
    root = Root()
    yield root
    root.peers.close()
    root.door.close()
    for fd in (root.loop._wake_read, root.loop._wake_write):
        os.close(fd)


def test_the_first_frame_identifies_a_peer_and_later_frames_are_handled(root):
    peer = root.comes()
    output = monitor_root.Output(1, b"x")
    for frame in (UP, output):
        peer.send(frame)
    root.turn()
    assert root.heard == [UP, output] and not root.said
    peer.close()
    root.turn()
    assert len(root.gone) == 1


@pytest.mark.parametrize("frame", [launcher_root.Final(0), monitor_root.Output(1, b"x")])
def test_a_connection_that_does_not_identify_itself_is_closed(root, frame):
    peer = root.comes()
    peer.sock.sendall(encode(frame))
    root.turn()
    (said,) = root.said
    assert said.startswith("closed the connection of a process that has not said what it is: ")
    peer.receive()
    assert peer.closed and not root.heard and not root.gone
    peer.close()


def test_a_process_that_sends_an_unexpected_frame_is_disconnected_and_named(root):
    peer, other = root.comes(), root.comes()
    for frame in (UP, UP, monitor_root.Output(1, b"not heard any more")):
        peer.send(frame)
    other.send(UP)
    root.turn()
    assert root.heard == [UP, UP] and len(root.gone) == 1
    assert root.said == ["closed the connection of rank 0: not twice"]
    other.send(monitor_root.Output(1, b"heard"))
    root.turn()
    assert root.heard[-1] == monitor_root.Output(1, b"heard")
    peer.close()
    other.close()


def test_data_that_the_peer_is_slow_to_read_is_sent_later(root):
    peer = root.comes()
    peer.send(UP)
    (ours,) = root.peers._peers
    big = monitor_root.Stdin(b"x" * (4 << 20))
    root.peers.send(ours, big)
    assert ours.stream.backlog
    received = []
    while not received:
        root.turn()
        received += peer.receive()
    assert received == [big] and not ours.stream.backlog
    peer.close()


def test_a_descriptor_closed_earlier_in_the_same_round_is_not_served(root):
    (a, b), (c, d) = os.pipe(), os.pipe()
    served = []

    def serve(fd):
        served.append(fd)
        for each in (a, c):
            root.loop.forget(each)

    root.loop.watch(a, lambda _: serve(a))
    root.loop.watch(c, lambda _: serve(c))
    for fd in (b, d):
        os.write(fd, b"x")
    root.turn()
    assert len(served) == 1
    for fd in (a, b, c, d):
        os.close(fd)


def test_calls_posted_by_another_thread_run_in_the_loop_in_order(root):
    done = []
    for i in range(3):
        root.loop.post(lambda i=i: done.append(i))
    root.turn()
    assert done == [0, 1, 2]
