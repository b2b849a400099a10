"""Framed streams over real socket pairs."""

from cmpi._core.protocol import monitor_root
from cmpi._transport.control_socket import ControlSocket, socket_pair


def test_messages_sent_before_a_peer_left_are_received_after_a_failed_send():
    """A monitor's last frame was once lost when the root had just answered an earlier one."""
    frames = {**monitor_root.TO_ROOT, **monitor_root.TO_MONITOR}
    a, b = (ControlSocket(sock, frames) for sock in socket_pair())
    b.send(monitor_root.ProcessExited(code=3))
    b.close()
    a.send(monitor_root.Dismiss())
    a.send(monitor_root.Dismiss())
    assert not a.closed and a.backlog == 0
    assert a.receive() == [monitor_root.ProcessExited(code=3)] and not a.closed
    assert a.receive() == [] and a.closed
    a.close()
