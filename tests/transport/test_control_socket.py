"""Framed streams over real socket pairs."""

import socket

import pytest

from cmpi._core.protocol import frames
from cmpi._transport import control_socket
from cmpi._transport.control_socket import ControlSocket, socket_pair
from cmpi.errors import ProtocolError


def test_what_a_peer_said_before_it_left_is_heard_after_a_send_has_failed():
    """A monitor's last word was lost when the root had just answered an earlier one."""
    a, b = (ControlSocket(sock) for sock in socket_pair())
    b.send(frames.ProcessExited(3, 0, 0, 0, 0, 0.0, ""))
    b.close()
    a.send(frames.Dismiss())
    a.send(frames.Dismiss())
    assert not a.closed and a.backlog == 0
    assert a.receive() == [frames.ProcessExited(3, 0, 0, 0, 0, 0.0, "")] and not a.closed
    assert a.receive() == [] and a.closed
    a.close()


def test_a_stranger_that_is_gone_before_it_is_greeted_is_refused_like_any_other(tmp_path):
    server = control_socket.listen(str(tmp_path / "s"))
    for _ in range(3):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(tmp_path / "s"))
        stranger.close()
        handshake = control_socket.Handshake(control_socket.accept(server), b"secret", 0.0)
        with pytest.raises(ProtocolError):
            handshake.progress()
    server.close()
