"""How a process joins through the descriptor that it has inherited."""

import os
import socket
import threading

import pytest

from cmpi._transport import joining
from cmpi._transport.control_socket import socket_pair
from cmpi.errors import NotRunning


@pytest.fixture
def pair():
    monitor, process = socket_pair()
    joining.listen(monitor)
    monitor.settimeout(10)
    yield monitor, process
    monitor.close()
    process.close()


def ask(process, answers):
    try:
        answers.append(joining.join(process))
    except NotRunning as error:
        answers.append(str(error))


def request(pair, taken=False):
    """The results of a request: for the monitor, and for the process that made it."""
    answers = []
    thread = threading.Thread(target=ask, args=(pair[1], answers))
    thread.start()
    there = joining.take(pair[0], taken)
    thread.join()
    return there, answers[0]


def test_a_process_gets_a_connection_of_its_own(pair):
    there, here = request(pair)
    here.send(b"hello")
    there.setblocking(True)
    assert there.recv(10) == b"hello"
    here.close()
    there.close()


def test_a_second_connection_is_refused_with_a_reason(pair):
    there, why = request(pair, taken=True)
    assert there is None and "another process of this rank" in why


def test_another_users_process_is_refused_with_a_reason(pair, monkeypatch):
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    there, why = request(pair)
    assert there is None and "another user" in why


@pytest.mark.parametrize("what", ["nothing", "a pipe", "two sockets"])
def test_an_invalid_request_is_ignored_and_its_descriptors_are_closed(pair, what):
    read, write = os.pipe()
    a, b = socket.socketpair()
    fds = {"nothing": [], "a pipe": [write], "two sockets": [a.fileno(), a.fileno()]}[what]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(fd.to_bytes(4, "little") for fd in fds))]
    pair[1].sendmsg([b"x"], rights if fds else [])
    assert joining.take(pair[0], False) is None
    os.close(write)
    a.close()
    assert os.read(read, 1) == b"" and b.recv(1) == b"", "both are at their ends"
    os.close(read)
    b.close()


def test_an_empty_socket_and_a_closed_socket_raise_different_errors(pair):
    pair[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        joining.take(pair[0], False)
    pair[1].close()
    with pytest.raises(EOFError):
        joining.take(pair[0], False)


def test_an_ended_monitor_counts_as_none(pair):
    pair[0].close()
    with pytest.raises(NotRunning, match="accepts no more processes"):
        joining.join(pair[1])
