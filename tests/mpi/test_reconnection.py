"""Unix-socket connections, of processes without shared memory, that drop and are made anew."""

OPTIONS = ("--shared-memory", "0")
PRELUDE = """\
import os, socket, sys, threading, time
import numpy as np
import cmpi
from cmpi import PeerExited, Receiver, Sender

def drop():
    "End the connections of this process, as a failing network would."
    import cmpi._runtime.process.context as context
    node = context.current()
    with node.lock:
        descriptors = [peer.connection.socket_inbox.descriptor for peer in node.peers]
        for fd in descriptors:
            if fd >= 0:
                with socket.socket(fileno=os.dup(fd)) as sock:
                    sock.shutdown(socket.SHUT_RDWR)

def content(i):
    return i if i % 3 else np.full((10, 3000, 200_000, 1_000_000)[i // 3 % 4], i)
"""

BOTH_WAYS = """
def stream(other, n, every):
    to, of = Sender(other), Receiver(other)
    def send():
        for i in range(n):
            to.send(content(i))
            if i % every == every // 2:
                drop()
        to.close()
    thread = threading.Thread(target=send)
    thread.start()
    got = 0
    for message in of:
        assert np.array_equal(message, content(got)), (got, message)
        got += 1
        if got % every == 0:
            drop()
    thread.join()
    return got
pid = cmpi.spawn(stream, 120, 17)
print(stream(pid, 120, 13), cmpi.wait(pid))
"""


def test_every_message_arrives_once_and_in_order_both_ways(job):
    result = job(PRELUDE + BOTH_WAYS, options=OPTIONS)
    assert (result.code, result.out) == (0, "120 0\n"), result


LAST_WORDS = """
def says_and_ends(parent, n):
    Sender(parent).send(content(n))
    if n % 2:
        drop()
for n in range(12):
    pid = cmpi.spawn(says_and_ends, n)
    receiver = Receiver(pid)
    if n % 3 == 0:
        receiver.recv()
        drop()
    else:
        assert np.array_equal(receiver.recv(), content(n))
    assert cmpi.wait(pid, timeout=30).code == 0
print("all")
"""


def test_processes_that_end_while_their_connections_drop_end_in_order(job):
    result = job(PRELUDE + LAST_WORDS, options=OPTIONS)
    assert (result.code, result.out) == (0, "all\n"), result


DIES = """
def dies(parent):
    to = Sender(parent)
    to.send(1)
    Receiver(parent).recv()
    drop()
    os.kill(os.getpid(), 9)
for _ in range(5):
    pid = cmpi.spawn(dies)
    of = Receiver(pid)
    of.recv()
    Sender(pid).send("now")
    try:
        of.recv(timeout=30)
    except PeerExited as error:
        print(error.status.code)
"""


def test_a_peer_that_dies_right_after_the_drop_is_a_peer_that_has_ended(job):
    result = job(PRELUDE + DIES, options=OPTIONS)
    assert result.out == "137\n" * 5, result
