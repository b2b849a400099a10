"""The relay of a guest on another machine: what strangers can do where it listens for a peer."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time

import pytest

from cmpi._core.protocol import gateway_relay, launcher_agent
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._transport.door import MAX_VISITORS


class Relay:
    """A relay in a process of its own, and the gateway's end of its connection."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from cmpi.launcher.hosts.relay_main import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._frames, self._decoder = [], Decoder(gateway_relay.TO_GATEWAY)
        assert self.process.stdout.readline() == b"\n"
        assert self.process.stdout.readline().startswith(launcher_agent.GREETING[1:])

    @property
    def _out(self):
        return self.process.stdout.fileno()

    def tell(self, frame):
        self.process.stdin.write(encode(frame))

    def next_frame(self):
        """The next frame that is no heartbeat."""
        while not self._frames:
            data = os.read(self._out, 65536)
            assert data, "the relay has ended"
            frames = self._decoder.feed(data)
            self._frames += [each for each in frames if not isinstance(each, launcher_agent.Beat)]
        return self._frames.pop(0)

    def listen(self, number):
        """Have it listen for a peer; returns the port."""
        self.tell(gateway_relay.ListenThere(number, "127.0.0.1"))
        while not isinstance(frame := self.next_frame(), gateway_relay.ListensThere):
            pass
        return frame.port


@pytest.fixture
def relay():
    it = Relay()
    yield it
    it.process.stdin.close()
    it.process.stdout.close()
    assert it.process.wait(30) == 0


def test_a_flood_of_strangers_is_bounded_and_a_new_listener_serves_the_peer(relay):
    port = relay.listen(1)
    with contextlib.ExitStack() as held:
        for _ in range(MAX_VISITORS):
            held.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            frame = relay.next_frame()
            assert isinstance(frame, gateway_relay.CameThere) and frame.number == 1
        end_s = time.monotonic() + 20
        with pytest.raises(ConnectionError):
            while time.monotonic() < end_s:
                socket.create_connection(("127.0.0.1", port), 20).close()
        with socket.create_connection(("127.0.0.1", relay.listen(3)), 20) as peer:
            while (came := relay.next_frame()).number != 3:
                pass
            peer.sendall(b"proof")
            assert relay.next_frame() == launcher_agent.Piece(came.channel, b"proof")


def test_without_descriptors_the_relay_lives_on(relay):
    pid = relay.process.pid
    opened = len(os.listdir(f"/proc/{pid}/fd"))
    port = relay.listen(1)
    resource.prlimit(
        pid, resource.RLIMIT_NOFILE, (opened + 3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    with contextlib.ExitStack() as held:
        for _ in range(20):
            held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        came = [relay.next_frame() for _ in range(2)]
        assert all(isinstance(frame, gateway_relay.CameThere) for frame in came), came
    channels = [frame.channel for frame in came]
    for frame in iter(relay.next_frame, launcher_agent.Shut(channels[0])):
        channels += [frame.channel] if isinstance(frame, gateway_relay.CameThere) else []
    assert relay.process.poll() is None
