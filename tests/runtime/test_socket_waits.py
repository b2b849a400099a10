"""Threads that wait for messages from sockets; tested with real sockets, but without a progress thread."""

import os
import select
import signal
import threading

import pytest

from cmpi._runtime.process import connection_condition
from cmpi._runtime.process.connection_condition import ConnectionCondition
from cmpi._runtime.process.sleeper import Sleeper
from tests.runtime.socket_host import Host, waiting


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


def test_a_waiting_thread_reads_the_socket_and_returns_it_afterwards(host):
    thread, answers = waiting(host, 2)
    host.await_sleeper()
    for body in (b"a", b"b"):
        assert host.watched() == set()
        host.peer.send(body)
    thread.join()
    assert answers == [True] and host.came == [(b"a", thread), (b"b", thread)]
    host.peer.send(b"c")
    assert host.watched() == {select.EPOLLIN} and host.idle == 1
    with host.lock:
        host.inbox.glance()
    thread, answers = waiting(host, 4)  # with the same sleeper
    host.await_sleeper()
    host.peer.send(b"d")
    thread.join()
    assert answers == [True] and host.came[-1] == (b"d", thread) and host.idle == 1


def test_two_threads_may_wait(host):
    waits = [waiting(host, 1)]
    host.await_sleeper(1)
    waits.append(waiting(host, 2))
    host.await_sleeper(2)
    host.peer.send(b"a")
    waits[0][0].join()
    host.peer.send(b"b")
    while waits[1][0].is_alive():  # it has claimed the socket, unless it looked before the first had ended
        if host.sockets.poll(0.01):
            with host.lock:
                host.inbox.scan()
    assert [answers for _, answers in waits] == [[True], [True]]


def test_a_wait_that_times_out_returns_the_socket_to_the_progress_thread(host):
    with host.lock:
        assert not host.changed.wait_for(lambda: host.came, 0.01)
        assert not host.changed.wait_for(lambda: host.came, 0.0)
    host.peer.send(b"a")
    assert host.watched() == {select.EPOLLIN}


def test_an_error_raised_by_the_condition_returns_the_socket_to_the_progress_thread(host):
    with host.lock, pytest.raises(ZeroDivisionError):
        host.changed.wait_for(lambda: 1 // 0)
    host.peer.send(b"a")
    assert host.watched() == {select.EPOLLIN} and host.idle == 1


def the_progress_thread_reads(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    host.peer.send(b"a")
    assert host.sockets.poll(10)
    with host.lock:
        host.inbox.scan()
    thread.join()
    assert answers == [True]


def test_the_progress_thread_reads_if_no_descriptor_is_left(host, monkeypatch):
    def none(*_):
        raise OSError("too many open files")

    monkeypatch.setattr(os, "eventfd", none)
    the_progress_thread_reads(host)


def test_a_waiting_thread_gives_up_its_claim_before_a_signal_handler_runs(host):
    with host.lock:

        def handler():  # runs while this thread sleeps, without the lock
            host.peer.send(b"a")
            assert host.watched() == set()
            host.waits.interrupted()
            assert host.watched() == {select.EPOLLIN}
            return acquire(sleeper)

        acquire = Sleeper.acquire
        sleeper = Sleeper()
        sleeper.acquire = lambda *_: handler()
        host.waits._idle.append(sleeper)
        assert host.changed.wait_for(lambda: host.came)
    assert host.came == [(b"a", threading.current_thread())]


def test_a_signal_that_does_not_interrupt_the_system_call_ends_the_sleep(host):
    """Like a signal that comes just before the system call; here because another thread gets it."""

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    def send_signal():
        host.await_sleeper()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=send_signal)
    try:
        with pytest.raises(Interrupted), host.lock:
            thread.start()
            host.changed.wait_for(lambda: host.came)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    signal.set_wakeup_fd(-1)
    host.peer.send(b"a")
    assert host.watched() == {select.EPOLLIN}


def test_the_progress_thread_reads_for_the_outer_of_two_nested_waits(host):
    other = Host()
    try:
        with host.lock:
            sleeper = Sleeper()

            def finalizer(*_):
                sleeper.acquire = lambda *_: Sleeper.acquire(sleeper)
                host.peer.send(b"a")
                with other.lock:
                    inner = ConnectionCondition(other.lock, host.waits, lambda: (other,))
                    other.peer.send(b"b")
                    assert inner.wait_for(lambda: other.came)
                assert host.watched() == {select.EPOLLIN}
                return sleeper.acquire()

            sleeper.acquire = finalizer
            host.waits._idle.append(sleeper)
            assert host.changed.wait_for(lambda: host.came)
        assert host.came == [(b"a", threading.current_thread())] and host.watched() == set()
        assert not host.waits._innermost
    finally:
        other.close()


def test_a_thread_can_wait_for_messages_from_several_sockets(host):
    other = Host()
    try:
        both = ConnectionCondition(host.lock, host.waits, lambda: (host, other))
        other.lock = host.lock
        for it, body in (host, b"a"), (other, b"b"):
            seen = len(host.came) + len(other.came)
            thread = threading.Thread(target=sender, args=(both, it, body))
            thread.start()
            with host.lock:
                assert both.wait_for(lambda seen=seen: len(host.came) + len(other.came) > seen, 10)
            thread.join()
        assert host.came + other.came == [(b, threading.current_thread()) for b in (b"a", b"b")]
    finally:
        other.close()


def sender(changed, it, body):
    while True:
        with changed.lock:
            if changed.waiters:
                break
    assert it.watched() == set()
    it.peer.send(body)


def test_the_progress_thread_reads_if_there_are_very_many_sockets(host, monkeypatch):
    monkeypatch.setattr(connection_condition, "MOST_SOCKETS", 0)
    the_progress_thread_reads(host)


def test_a_forked_process_leaves_sockets_and_releases_to_its_parent(host):
    thread, answers = waiting(host)
    host.await_sleeper()
    child = os.fork()
    if child == 0:
        try:
            (wait,) = host.waits._innermost.values()
            host.waits.forked()
            host.inbox.forked()
            assert wait.sleeper.acquire() and not wait.sleeper.acquire(False)
            wait.sleeper.release()
            wait.give_up()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert not answers
    host.peer.send(b"a")
    thread.join()
    assert answers == [True] and host.came == [(b"a", thread)]


def test_a_release_just_before_a_sleep_wakes_the_sleeping_thread():
    sleeper = Sleeper()
    sleeper.release()
    sleeper.release()
    assert sleeper.acquire() and not sleeper.acquire(False) and not sleeper.acquire(True, 0.001)
    sleeper.close()


def test_short_lived_threads_receive_every_message_that_they_wait_for(host):
    """Each thread asks an echo for its messages, one by one, through the same socket; some poll first. The
    progress thread has no timeout but that of its pace, so a lost wake-up would stop the test."""
    threads, rounds, stop = 3, 500, threading.Event()
    heard = [0] * threads
    changed = [ConnectionCondition(host.lock, host.waits, lambda: (host,)) for _ in range(threads)]
    read_event, write_event = os.pipe()
    host.sockets.register(read_event, select.EPOLLIN)

    def read(transport):
        came = False
        while (frame := transport.receive()) is not None:
            came, n = True, frame[0]
            heard[n] += 1
            changed[n].notify_all()
        return came

    host.inbox._read = read

    def progress():
        while not stop.is_set():
            with host.lock:
                host.inbox.progress()
                host.inbox.watch()
                pause_s = 0.001 if host.inbox.watched else None
            host.sockets.poll(pause_s)

    def echo():
        poll = select.poll()
        poll.register(host.peer.fileno(), select.POLLIN)
        for _ in range(threads * rounds):
            while (frame := host.peer.receive()) is None:
                poll.poll()
            host.peer.send(frame)

    def ask(n):
        for i in range(rounds):
            with host.lock:
                host.transport.send(bytes([n]))
                if i % (n + 2) == 0:
                    host.inbox.look(20e-6)
                if i % 7 == n:
                    host.rest()
                while not changed[n].wait_for(lambda i=i: heard[n] > i, 0.0005 if i % 5 == 0 else None):
                    pass

    everybody = [threading.Thread(target=ask, args=(n,)) for n in range(threads)]
    everybody += [threading.Thread(target=it) for it in (progress, echo)]
    for thread in everybody:
        thread.start()
    for thread in everybody[:threads]:
        thread.join()
    stop.set()
    os.write(write_event, b"x")
    for thread in everybody:
        thread.join()
    os.close(read_event)
    os.close(write_event)
    assert heard == [rounds] * threads and not host.waits._innermost
