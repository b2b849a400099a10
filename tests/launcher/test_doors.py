"""The sockets of cmpirun and of its agents on other hosts, against every hostile visitor."""

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time

import pytest

from cmpi._core.protocol import command_launcher, helper_root, launcher_agent
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime.root.control_peers import AT_THE_DOOR
from cmpi._transport import control_socket, proof
from cmpi._transport import door as doors
from cmpi._transport.control_socket import ControlSocket
from cmpi._transport.door import Door
from cmpi.launcher.hosts import root_tunnel, rsh_server
from cmpi.launcher.hosts.agents import Agents
from cmpi.launcher.hosts.copied_folders import CopiedFolders
from cmpi.launcher.hosts.hostfile import HostSpec
from tests import hostile_visitors

KEY = bytes(range(32))
VISITORS = pytest.mark.parametrize("visitor", hostile_visitors.ALL, ids=lambda visitor: visitor.__name__)
# As cmpirun starts it, with less patience for a crowd.
AGENT = """
from cmpi._transport import door
door.CROWDED_S = 0.05
from cmpi.launcher.hosts.agent_main import main
main()
"""


def connector(path):
    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        return sock

    return connect


def friend_at(connect):
    sock = connect()
    sock.settimeout(30)
    proof.prove(sock, KEY)
    return sock


def beginning(folder):
    where = {"folder": str(folder), "shared_memory": str(folder), "cwd": "/", "program": ""}
    return launcher_agent.Begin(**where, environment=[], key=KEY, lost_s=60.0)


class Agent:
    """An agent in a process of its own, and cmpirun's end of its connection."""

    def __init__(self, folder):
        self.folder = folder / "cmpi-job"
        self.process = subprocess.Popen(
            [sys.executable, "-c", AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._frames, self._decoder = [], Decoder(launcher_agent.TO_LAUNCHER)
        assert self.process.stdout.readline() == b"\n"
        assert self.process.stdout.readline().startswith(launcher_agent.GREETING[1:])
        self.next_of(launcher_agent.HostFacts)

    def begin(self):
        self.tell(beginning(self.folder))
        assert self.next_of(launcher_agent.Begun).fault == ""
        return connector(self.folder / "root")

    def tell(self, frame):
        self.process.stdin.write(encode(frame))
        self.process.stdin.flush()

    def next_of(self, kind):
        """The next frame that is no heartbeat, which is to be of this kind."""
        while not self._frames:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the agent has ended"
            frames = self._decoder.feed(data)
            self._frames += [each for each in frames if not isinstance(each, launcher_agent.Beat)]
        assert isinstance(self._frames[0], kind), self._frames
        return self._frames.pop(0)


@pytest.fixture
def agent(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    it = Agent(tmp_path)
    yield it
    it.process.stdin.close()  # the connection is cut
    assert it.process.wait(30) == 0
    it.process.stdout.close()
    assert not it.folder.exists()


def test_an_agent_turns_hostile_visitors_away_and_relays_for_those_that_know_the_secret(agent):
    connect, held = agent.begin(), []
    for visitor in hostile_visitors.ALL:
        visitor(connect, KEY, held)
    with contextlib.ExitStack() as ends:
        for sock in held[-300:]:  # some stay, half open
            ends.enter_context(sock)
        for sock in held[:-300]:
            sock.close()
        friend = ends.enter_context(friend_at(connect))
        friend.sendall(b"a frame")
        channel = agent.next_of(launcher_agent.Came).channel  # the first: cmpirun has heard of no other
        assert agent.next_of(launcher_agent.Piece) == launcher_agent.Piece(channel, b"a frame")
        agent.tell(launcher_agent.Piece(channel, b"an answer"))
        assert friend.recv(100) == b"an answer"
        friend.close()
        assert agent.next_of(launcher_agent.Shut) == launcher_agent.Shut(channel)


class FakeHost:
    """A `RemoteHost` that keeps what it is told."""

    def __init__(self):
        self.channels, self.told = {}, []

    def tell(self, frame):
        self.told.append(frame)


class Tunnel:
    """cmpirun's relay to a root that is a door here; both take turns in this thread."""

    def __init__(self, folder, key=KEY):
        self.selector = selectors.EpollSelector()
        self.relay = root_tunnel.RootTunnel(self.selector)
        self.relay.address, self.relay.key = str(folder / "root"), KEY
        self.root, self.host = Door(doors.listen(self.relay.address), key), FakeHost()

    def turn(self):
        for key, events in self.selector.select(0.01):
            call, *arguments = key.data
            call(*arguments, events)
        return self.root.admit(time.monotonic())

    def until(self, condition):
        end_s = time.monotonic() + 30
        while not condition() and time.monotonic() < end_s:
            self.turn()
        assert condition()

    def admitted(self):
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            for sock in self.turn():
                return socket.socket(fileno=sock.detach())
        raise AssertionError("nobody was admitted")

    def close(self):
        self.root.close()
        self.selector.close()


@pytest.fixture
def tunnel(tmp_path):
    it = Tunnel(tmp_path)
    yield it
    it.close()


def test_the_relay_proves_itself_to_the_root_first_and_keeps_the_order_of_what_comes(tunnel):
    tunnel.relay.connect(tunnel.host, 2)
    tunnel.relay.pass_on(tunnel.host, 2, b"early, ")
    tunnel.relay.pass_on(tunnel.host, 2, b"before the proof; ")
    with tunnel.admitted() as root:
        tunnel.until(lambda: tunnel.host.channels[2].proved)
        tunnel.relay.pass_on(tunnel.host, 2, b"behind it")
        root.settimeout(10)
        assert root.recv(100) == b"early, before the proof; behind it"
        root.sendall(b"an answer")
        tunnel.until(lambda: tunnel.host.told)
        assert tunnel.host.told == [launcher_agent.Piece(2, b"an answer")]
    tunnel.until(lambda: len(tunnel.host.told) == 2)
    assert tunnel.host.told[1] == launcher_agent.Shut(2) and not tunnel.host.channels


def test_frames_of_a_process_that_exits_before_the_proof_are_delivered(tunnel):
    tunnel.relay.connect(tunnel.host, 2)
    tunnel.relay.pass_on(tunnel.host, 2, b"w" * (1 << 20))
    tunnel.relay.close(tunnel.host, 2)
    heard = []

    def listen(root):
        root.setblocking(True)
        while data := root.recv(1 << 20):
            heard.append(data)

    root = tunnel.admitted()
    thread = threading.Thread(target=listen, args=(root,))
    thread.start()
    while thread.is_alive():
        tunnel.turn()
    root.close()
    assert b"".join(heard) == b"w" * (1 << 20) and not tunnel.host.told
    assert not tunnel.selector.get_map(), "nothing of it is left"


def test_nothing_is_sent_to_a_relay_listener_without_the_secret(tmp_path):
    tunnel = Tunnel(tmp_path, b"another")
    tunnel.relay.connect(tunnel.host, 2)
    tunnel.relay.pass_on(tunnel.host, 2, b"a frame")
    tunnel.until(lambda: tunnel.host.told)
    assert tunnel.host.told == [launcher_agent.Shut(2)] and not tunnel.selector.get_map()
    tunnel.close()


def test_a_process_on_another_host_talks_with_the_root_through_agent_and_cmpirun(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    there = tmp_path / "cmpi-job"
    agents = Agents([HostSpec("h2", "h2")], lambda target, argv: argv, sys.executable)
    agents.begin(beginning(there))
    agents._to_root.address = str(tmp_path / "root")  # on a real host it is the same path
    root, streams, answers = Door(doors.listen(agents._to_root.address), KEY), [], []

    def process():
        with contextlib.closing(control_socket.connect_in(str(there), "root", AT_THE_DOOR)) as stream:
            stream.send(helper_root.Complaint("x" * (1 << 20)))
            while not stream.flush():
                pass
            answers.append(control_socket.receive_with_fds(stream)[0])
            stream.send(helper_root.Complaint("my last word"))

    thread = threading.Thread(target=process)
    thread.start()
    heard, end_s = [], time.monotonic() + 30
    while len(heard) < 2 and time.monotonic() < end_s:
        agents.serve(0.01)
        streams += [ControlSocket(sock, AT_THE_DOOR) for sock in root.admit(time.monotonic())]
        for stream in streams:
            frames = stream.receive()
            heard += [frame.text for frame in frames]
            if frames and len(heard) == 1:
                stream.send(helper_root.Complaint("an answer"))
    thread.join()
    assert heard == ["x" * (1 << 20), "my last word"] and answers[0].text == "an answer"
    agents.finish()
    ssh = agents.hosts["h2"].ssh
    for pipe in (ssh.stdin, ssh.stdout, ssh.stderr):
        pipe.close()
    root.close()
    for stream in streams:
        stream.close()
    assert not there.exists()


class FakeAgents:
    """`Agents` whose commands all end at once."""

    def run(self, host, argv, settings, said, ended):
        ended(len(argv))


@VISITORS
def test_cmpiruns_socket_for_mpiexec_turns_hostile_visitors_away(tmp_path, monkeypatch, visitor):
    monkeypatch.setattr(doors, "CROWDED_S", 0.05)
    server = rsh_server.RshServer(
        str(tmp_path), KEY, FakeAgents(), CopiedFolders(FakeAgents()), lambda data: None
    )
    over, held, connect = threading.Event(), [], connector(tmp_path / "rsh")

    def serve():
        while not over.is_set():
            server.serve()
            over.wait(0.005)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        visitor(connect, KEY, held)
        with friend_at(connect) as friend:
            stream = ControlSocket(friend, command_launcher.TO_RSH_CLIENT)
            stream.send(command_launcher.RunThere("h2", ["a", "b", "c"]))
            friend.settimeout(30)
            (answer,) = stream.receive()
            assert answer.code == 3
    finally:
        over.set()
        thread.join()
        server.serve()  # the friend has left
        server._door.close()
        for sock in held:
            sock.close()
