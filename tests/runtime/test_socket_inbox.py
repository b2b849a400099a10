"""What a socket's inbox has epoll watch for, and who reads it; with a real socket, but without a progress
thread."""

import os
import select
import threading

import pytest

from cmpi._runtime.process import socket_inbox
from tests.runtime.socket_host import Host, waiting


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


def test_the_progress_thread_reads_while_no_thread_waits(host):
    host.peer.send(b"a")
    assert host.watched() == {select.EPOLLIN}
    with host.lock:
        assert host.inbox.progress() and not host.inbox.progress()
    assert host.watched() == set()


def test_polling_reads_the_socket_and_is_skipped_after_a_fruitless_poll(host, monkeypatch):
    monkeypatch.setattr(socket_inbox, "SPIN_S", 10.0)
    claimed = []
    read = host.inbox._read

    def read_and_see(transport):
        claimed.append(host.inbox._readership.claimant)
        if len(claimed) == 3:
            host.peer.send(b"a")
        return read(transport)

    host.inbox._read = read_and_see
    with host.lock:
        assert host.inbox.look(10.0)
        assert claimed == [None, host.inbox, host.inbox] and host.inbox._readership.claimant is None
        assert not host.inbox.look(1e-6) and not host.inbox.look(0.0)
        del claimed[:]
        claimed += [1, 1, 1]  # nothing more is sent
        assert not host.inbox.look(10.0)
        assert claimed == [1, 1, 1, None]


def test_a_waiting_thread_is_notified_when_another_thread_reads_its_message(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    with host.lock:
        host.peer.send(b"a")
        host.inbox.scan()
    thread.join()
    assert answers == [True] and host.came == [(b"a", threading.current_thread())]


def test_a_closed_connection_does_not_keep_waking_a_waiting_thread(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    host.peer.free()
    while host.transport.fileno() >= 0:
        pass
    assert host.watched() == set() and not answers  # it continues to wait, for the notice of the reason
    with host.lock:
        host.came.append(None)
        host.changed.notify_all()
    thread.join()
    assert answers == [True] and host.watched() == set()


def test_closing_a_socket_does_not_wake_the_thread_that_waits_on_it(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    with host.lock:
        host.inbox.free()
        host.transport.free()
    again = host.peer._sock
    again.settimeout(10)
    assert again.recv(1) == b""  # no poll holds the closed socket open
    assert not answers
    with host.lock:
        host.came.append(None)
        host.changed.notify_all()
    thread.join()
    assert answers == [True]


def test_a_closed_socket_that_a_forked_process_has_open_is_not_watched_any_more(host):
    other = os.dup(host.transport.fileno())  # as a fork would leave it
    host.peer.send(b"a")
    assert host.watched() == {select.EPOLLIN}
    with host.lock:
        host.inbox.free()
    host.transport.free()
    assert host.watched() == set()
    os.close(other)


def test_pending_output_wakes_the_progress_thread_even_while_another_thread_reads(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    with host.lock:
        host.transport.send_buffers([bytes(10_000_000)], None)
        host.inbox.watch()
    while host.watched() != {select.EPOLLOUT}:
        host.peer._sock.recv(1 << 20)
    host.peer.send(b"a")
    thread.join()
    assert answers == [True]
