"""Framed streams over real socket pairs."""

from cmpi._core.protocol import frames
from cmpi._transport.control_socket import ControlSocket, socket_pair


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
