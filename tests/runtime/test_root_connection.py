"""Requests of a process to the root."""

import socket
import threading

import pytest

from cmpi._core.protocol import process_root
from cmpi._core.protocol.wire import Decoder
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._runtime.process.root_connection import ROOM, RootConnection
from cmpi._runtime.process.wait_registry import WaitRegistry


@pytest.fixture
def root():
    """The root's end of a connection, and the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, RootConnection(theirs, ChannelCondition(NodeLock()), WaitRegistry(), lambda: None)


def frames(sock):
    sock.setblocking(False)
    return list(Decoder(process_root.TO_ROOT).feed(sock.recv(1 << 16)))


def test_a_request_that_is_still_wanted_is_made_only_once(root):
    """A request anew would have the root undo the late reply to the first, and so on for ever."""
    sock, connection = root
    asked = []

    def wanted():
        asked.append(threading.current_thread())
        if len(asked) == 3:
            with connection._changed:
                connection._replies[1] = "the late reply"
        return True

    assert connection.ask(process_root.AskCapacity, 0.01, ROOM, wanted) == "the late reply"
    assert len(asked) == 3 and frames(sock) == [process_root.AskCapacity(1)]


def test_a_request_that_is_not_wanted_any_more_is_withdrawn(root):
    sock, connection = root
    with pytest.raises(TimeoutError, match=ROOM):
        connection.ask(process_root.AskCapacity, 0.01, ROOM, lambda: False)
    assert frames(sock) == [process_root.AskCapacity(1), process_root.Cancel(1)]
