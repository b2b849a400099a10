"""Every door against every hostile visitor; and its limits, with a simulated clock."""

import contextlib
import os
import select
import socket
import stat
import threading
import time

import pytest

from cmpi._transport import door as doors
from cmpi._transport import proof, socket_transport
from cmpi._transport.door import CROWDED_S, MAX_VISITORS, Door
from cmpi._transport.proof import HANDSHAKE_S
from cmpi.errors import ProtocolError
from tests import hostile_visitors

KEY = bytes(range(32))


class Open:
    """A door that a thread serves, and the way to connect to it."""

    def __init__(self, door, connect):
        self.door, self.connect, self.admitted = door, connect, []
        self._over, self._ring = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            now_s = time.monotonic()
            self.admitted += self.door.admit(now_s)
            due_s = self.door.deadline_s
            left_s = None if due_s is None else max(0.0, due_s - now_s)
            if self._over in select.select([self.door, self._over], [], [], left_s)[0]:
                return

    def close(self):
        os.write(self._ring, b"x")
        self._thread.join()
        os.close(self._ring)
        os.close(self._over)
        self.door.close()
        for sock in self.admitted:
            sock.close()


def unix(tmp_path):
    path = str(tmp_path / "door")

    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    return Door(doors.listen(path), KEY), connect


def link(tmp_path):
    door = socket_transport.listen("127.0.0.1", KEY)
    return door, lambda: socket.create_connection(("127.0.0.1", socket_transport.port_of(door)))


def link_on_one_host(tmp_path):
    path = str(tmp_path / "0000001.link")
    door = socket_transport.listen(path, KEY)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    return door, connect


@pytest.fixture(params=[unix, link, link_on_one_host])
def opened(request, tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "CROWDED_S", 0.05)
    it = Open(*request.param(tmp_path))
    yield it
    it.close()


@pytest.mark.parametrize("visitor", hostile_visitors.ALL, ids=lambda visitor: visitor.__name__)
def test_a_hostile_visitor_is_turned_away_and_the_door_stays_open(opened, visitor):
    held = []
    try:
        visitor(opened.connect, KEY, held)
        with opened.connect() as friend:
            friend.settimeout(30)
            proof.prove(friend, KEY)
        assert len(opened.admitted) <= 1 and len(opened.door._visitors) <= MAX_VISITORS
    finally:
        for sock in held:
            sock.close()


def test_visitors_have_a_time_limit_which_is_short_when_others_wait(tmp_path):
    door, connect = unix(tmp_path)
    with contextlib.ExitStack() as held:
        held.callback(door.close)
        some = [held.enter_context(connect()) for _ in range(3)]
        assert door.admit(100.0) == [] and len(door._visitors) == 3
        assert door.deadline_s == 100.0 + HANDSHAKE_S
        door.admit(99.9 + HANDSHAKE_S)
        assert len(door._visitors) == 3
        door.admit(100.0 + HANDSHAKE_S)
        assert not door._visitors and door.deadline_s is None
        assert some[0].recv(100)[:8] and some[0].recv(100) == b""
        more = [held.enter_context(connect()) for _ in range(MAX_VISITORS + 5)]
        door.admit(200.0)
        assert len(door._visitors) == MAX_VISITORS and door.deadline_s == 200.0 + CROWDED_S
        assert not select.select([door], [], [], 0)[0], "those outside do not keep its owner busy"
        door.admit(200.0 + CROWDED_S)
        assert len(door._visitors) == 5, "those outside have come in"
        more[-1].settimeout(5)
        assert more[-1].recv(8)


def test_without_descriptors_the_door_rests_and_says_so(tmp_path, monkeypatch):
    door, connect = unix(tmp_path)

    def none_left(server):
        raise OSError(24, "Too many open files")

    with contextlib.ExitStack() as held:
        held.callback(door.close)
        held.enter_context(connect())
        with monkeypatch.context() as patch:
            patch.setattr(doors, "accept", none_left)
            assert door.admit(1.0) == [] and door.fault == "Too many open files"
            assert not select.select([door], [], [], 0)[0] and door.deadline_s == 1.0 + doors.REST_S
        door.admit(door.deadline_s)
        assert len(door._visitors) == 1


def test_another_users_process_is_turned_away_ungreeted(tmp_path, monkeypatch):
    door, connect = unix(tmp_path)
    with contextlib.ExitStack() as held:
        held.callback(door.close)
        sock = held.enter_context(connect())
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert door.admit(1.0) == [] and not door._visitors
        assert sock.recv(100) == b""


def test_a_client_sends_nothing_to_another_users_listener(tmp_path, monkeypatch):
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"cmpi/1\r\n" + bytes(16))
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(ProtocolError, match="another user"):
            proof.prove(here, KEY)
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.recv(1)


def test_nothing_is_sent_to_a_listener_that_does_not_know_the_secret():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"cmpi/1\r\n" + bytes(16) + bytes(32))
        with pytest.raises(ProtocolError, match="does not know"):
            proof.prove(here, KEY)
        assert len(there.recv(4096)) == 48, "a proof for this connection, which is of no use in another"
