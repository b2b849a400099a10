"""What a process knows of another one that has ended."""

import select
import socket

from cmpi._core.channel import retransmission
from cmpi._core.channel.windows import Windows
from cmpi._core.protocol import process_process
from cmpi._core.protocol.process_root_connections import ConnectionDropped
from cmpi._core.protocol.wire import encode_bare
from cmpi._runtime.process.peer import QUIET_ROUNDS, Peer
from cmpi._transport.socket_transport import SocketTransport
from cmpi.identifiers import ExitStatus, Pid
from tests.runtime.test_connection import Node


def test_until_the_end_of_a_dead_peers_socket_is_read_something_counts_as_under_way(tmp_path):
    # The notice of its end comes by another way than what it has sent, and may be faster. If nothing
    # counted as under way, the deadlock check would end the job in between.
    ours, theirs = socket.socketpair()
    node = Node(Pid(1), str(tmp_path), 0, shares=False)
    node.sockets, node.windows = select.epoll(), Windows(0)
    with node.lock:
        peer = Peer(node, Pid(2))
        peer.socket_up(ours, 0, "socket")
        assert not peer.under_way
        peer.exited(ExitStatus(0, 0))
        peer.progress()
        assert peer.under_way
        theirs.close()
        for _ in range(QUIET_ROUNDS + 2):
            peer.progress()
        assert peer.over, "it is forgotten"
    node.sockets.close()


def test_a_socket_that_drops_with_the_last_acknowledgement_unwritten_is_replaced(tmp_path, monkeypatch):
    # Both have said Bye. If the drop was not reported, this process would wait for ever to write it.
    monkeypatch.setattr(retransmission, "ACKNOWLEDGE_BYTES", 1)
    ours, theirs = socket.socketpair()
    node = Node(Pid(1), str(tmp_path), 0, shares=False)
    node.sockets, node.windows, node.failed, told = select.epoll(), Windows(0), False, []
    node.tell_root = told.append
    with node.lock:
        peer = Peer(node, Pid(2))
        peer.socket_up(ours, 0, "socket")
        peer.connection.post(process_process.Fin(7))
        peer.say_bye()
        other = SocketTransport(theirs)
        other.send(encode_bare(process_process.Bye(False)))
        other.free()
        peer.progress()
        assert peer.connection.busy and told == [ConnectionDropped(2)]
        peer.connection.free()
    node.sockets.close()
