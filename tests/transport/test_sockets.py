"""Framed streams over real socket pairs."""

import socket

import pytest

from cmpi._core import frames
from cmpi._transport import sockets
from cmpi._transport.sockets import Stream, socket_pair
from cmpi.errors import ProtocolError


def test_what_a_peer_said_before_it_left_is_heard_after_a_send_has_failed():
    """A monitor's last word was lost when the root had just answered an earlier one."""
    a, b = (Stream(sock) for sock in socket_pair())
    b.send(frames.Exited(3, 0, 0, 0, 0, 0.0, ""))
    b.close()
    a.send(frames.Dismiss())
    a.send(frames.Dismiss())
    assert not a.closed and a.backlog == 0
    assert a.receive() == [frames.Exited(3, 0, 0, 0, 0, 0.0, "")] and not a.closed
    assert a.receive() == [] and a.closed
    a.close()


def test_a_stranger_that_is_gone_before_it_is_greeted_is_refused_like_any_other(tmp_path):
    server = sockets.listen(str(tmp_path / "s"))
    for _ in range(3):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(tmp_path / "s"))
        stranger.close()
        doorman = sockets.Doorman(sockets.accept(server), b"secret", 0.0)
        with pytest.raises(ProtocolError):
            doorman.progress()
    server.close()
