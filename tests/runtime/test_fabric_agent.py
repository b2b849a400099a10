"""Two fabric agents in one process, with memory in MPI's place: the contract of a transport holds through
them, and what goes wrong at one stream harms no other."""

import contextlib
import os
import pathlib
import socket
import stat
import struct
import threading
import time
from collections import deque

import pytest

from cmpi._core.fabric.wakefulness import Wakefulness
from cmpi._core.protocol import helper_root, process_fabric
from cmpi._core.protocol.process_root_connections import DialThrough
from cmpi._core.protocol.wire import encode
from cmpi._runtime.fabric.agent import FabricAgent, Link
from cmpi._runtime.fabric.bell import Bell
from cmpi._runtime.fabric.local_end import LocalEnd
from cmpi._transport import control_socket, socket_transport
from cmpi._transport import door as doors
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.proof import prove
from cmpi._transport.socket_transport import SocketTransport
from tests import hostile_visitors
from tests.transport import transport_contract
from tests.transport.test_transport_contract import play

AGENTS_KEY, KEY = b"a" * 32, b"k" * 32


class Messages:
    """One agent's end of a way to the other."""

    def __init__(self):
        self.sent = self.received = 0
        self.busy, self.sending = False, 0
        self.came, self.other = deque(), None
        self.fallen = False

    def send(self, message):
        self.sent += 1
        self.other.came.append(message)

    def receive(self):
        if self.fallen:
            raise TransportBroken("the world has fallen")
        if not self.came:
            return None
        self.received += 1
        return self.came.popleft()

    def progress_sends(self):
        return False


class Agents:
    """Agents of the hosts "a" and "b", each with a folder of its own."""

    def __init__(self, folder):
        self.folders = {name: folder / name for name in "ab"}
        self.messages = {name: Messages() for name in "ab"}
        self.messages["a"].other, self.messages["b"].other = self.messages["b"], self.messages["a"]
        bells = {name: Bell() for name in "ab"}
        self._roots, self._threads, self.bells = [], [], bells
        for rank, (name, other) in enumerate((("a", "b"), ("b", "a"))):
            self.folders[name].mkdir(exist_ok=True)
            bells[name].know(rank, [(each, "127.0.0.1", bells[each].port) for each in "ab"])
            ours, theirs = socket.socketpair()
            root = control_socket.ControlSocket(ours, helper_root.TO_FABRIC_AGENT)
            folder = str(self.folders[name])
            link = Link(other, self.messages[name], first=rank == 0)
            agent = FabricAgent(folder, self.path(name), [link], root, bells[name], Wakefulness(0.0))
            self._threads.append(threading.Thread(target=self._run, args=(agent,)))
            theirs.sendall(encode(helper_root.GuardBy(AGENTS_KEY)))
            self._roots.append(theirs)
        for thread in self._threads:
            thread.start()
        for theirs in self._roots:
            assert theirs.recv(64) == encode(helper_root.Carries())

    @staticmethod
    def _run(agent):
        with contextlib.suppress(TransportBroken):
            agent.run()
        agent.close()

    def path(self, name):
        return f"{self.folders[name]}/fabric"

    def dial(self, pid, frm="a", to="b", key=KEY):
        """A process of one host connects to a process of the other."""
        return socket_transport.dial_through(DialThrough(pid, to, self.path(frm), AGENTS_KEY, key), 5.0)

    def meet(self, pid, frm="a", to="b"):
        """The two ends of a connection that the agents carry."""
        door = socket_transport.listen(socket_transport.link_path(str(self.folders[to]), pid), KEY)
        found = []
        thread = threading.Thread(target=lambda: found.append(self.dial(pid, frm, to)))
        thread.start()
        accepted = socket_transport.accept(door, 10)
        thread.join()
        socket_transport.close(door)
        return SocketTransport(found[0]), SocketTransport(accepted)

    def stop(self):
        for theirs in self._roots:
            theirs.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "an agent hangs"


@pytest.fixture
def agents(tmp_path):
    agents = Agents(tmp_path)
    yield agents
    agents.stop()


@pytest.mark.parametrize("program", transport_contract.PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("frm", ["a", "b"])
def test_the_contract_of_a_transport_holds_through_agents(agents, program, frm):
    one, other = agents.meet(7, frm, "ab"[frm == "a"])
    play(program, (one, other), 0)
    one.free(), other.free()


def read_all(transport, limit_s=20):
    frames, end_s = [], time.monotonic() + limit_s
    try:
        while time.monotonic() < end_s:
            frame = transport.receive()
            if frame is not None:
                frames.append(frame)
    except TransportBroken:
        return frames
    raise AssertionError("the connection has not ended")


def test_the_end_comes_after_everything_that_was_sent(agents):
    one, other = agents.meet(7)
    for i in range(1000):
        one.send(b"%d" % i)
    while one.busy:
        one.progress_sends()
    one.free()
    assert read_all(other) == [b"%d" % i for i in range(1000)]
    other.free()


def test_one_that_reads_nothing_stops_no_other(agents):
    slow, fast = agents.meet(7), agents.meet(8)
    for _ in range(100):
        slow[0].send(bytes(100_000))
    play(transport_contract.frames_arrive_once_and_in_order, fast, 0)
    assert slow[0].busy, "it waits for its reader"
    for transport in (*slow, *fast):
        transport.free()


def test_a_process_that_does_not_listen_is_not_reached(agents):
    assert agents.dial(9) is None
    assert agents.dial(9, to="c") is None, "no such host"


def test_one_that_does_not_know_the_key_of_the_connection_gets_nothing(agents):
    door = socket_transport.listen(socket_transport.link_path(str(agents.folders["b"]), 7), b"x" * 32)
    found = []
    thread = threading.Thread(target=lambda: found.append(agents.dial(7)))
    thread.start()
    assert socket_transport.accept(door, 2) is None
    socket_transport.close(door)
    thread.join()
    assert found == [None]


def test_garbage_in_place_of_a_destination_is_the_end_of_that_connection_only(agents):
    for garbage in (b"", b"x" * 100, encode(process_fabric.CarryTo("a", 1))):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(agents.path("a"))
            prove(sock, AGENTS_KEY)
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
    one, other = agents.meet(7)
    one.free(), other.free()


@pytest.mark.parametrize("visitor", hostile_visitors.ALL, ids=lambda visitor: visitor.__name__)
def test_a_hostile_visitor_is_turned_away_and_connections_are_carried(agents, visitor, monkeypatch):
    monkeypatch.setattr(doors, "CROWDED_S", 0.05)
    held = []

    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(agents.path("a"))
        return sock

    assert stat.S_IMODE(os.stat(agents.path("a")).st_mode) == 0o600
    visitor(connect, AGENTS_KEY, held)
    for transport in agents.meet(7):
        transport.free()
    for sock in held:
        sock.close()


def test_garbage_at_the_bell_does_no_harm(agents):
    address = "127.0.0.1", agents.bells["a"].port
    ring = struct.Struct("<IQ")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for said in (
            b"",
            b"x",
            b"x" * 60000,
            ring.pack(1, 2**64 - 1),
            ring.pack(2, 1),
            ring.pack(2**32 - 1, 9),
        ):
            for _ in range(100):
                stranger.sendto(said, address)
    one, other = agents.meet(7)
    play(transport_contract.frames_arrive_once_and_in_order, (one, other), 0)
    one.free(), other.free()


def test_an_agent_does_not_connect_to_another_users_listener(tmp_path, monkeypatch):
    path = socket_transport.link_path(str(tmp_path), 7)
    door = socket_transport.listen(path, KEY)
    ours = LocalEnd.connect(path)
    assert not ours.over
    ours.close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert LocalEnd.connect(path).over
    assert list(socket_transport.connections(path, 0, 5.0)) == [], "nor does a relay"
    socket_transport.close(door)


def test_when_the_world_falls_every_connection_ends(agents):
    one, other = agents.meet(7)
    for messages in agents.messages.values():
        messages.fallen = True
    assert read_all(one) == [] and read_all(other) == []
    one.free(), other.free()


def test_nothing_is_left_of_connections_that_are_over(agents):
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    for pid in range(20):
        for transport in agents.meet(pid):
            transport.free()
    end_s = time.monotonic() + 20
    while len(list(pathlib.Path("/proc/self/fd").iterdir())) > before:
        assert time.monotonic() < end_s, "descriptors are left"
        time.sleep(0.01)


def test_an_agent_takes_the_place_of_one_that_was_killed(tmp_path):
    (tmp_path / "a").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "a" / "fabric"))
    agents = Agents(tmp_path)
    for transport in agents.meet(7):
        transport.free()
    agents.stop()
