"""Visitors that a door must reject or endure, while it stays open for those who know the secret.

Each is called with `connect`, which returns a new connection, and the key; it may keep connections open in
`held` as long as the test runs.
"""

import contextlib
import os
import socket

from cmpi._core.protocol import authentication, monitor_root
from cmpi._core.protocol.authentication import ANSWER_BYTES, GREETING_BYTES, MAGIC, NONCE_BYTES
from cmpi._core.protocol.wire import encode


def _say(connect, held, *pieces):
    """Send these bytes, and read until the other end closes or sends nothing more; return what it sent."""
    sock = connect()
    held.append(sock)
    sock.settimeout(0.02)
    heard = b""
    with contextlib.suppress(OSError):
        for piece in pieces:
            sock.sendall(piece)
        while more := sock.recv(4096):
            heard += more
    assert len(heard) <= GREETING_BYTES, (
        "a visitor that has proved nothing is told nothing but the greeting"
    )
    return heard


def silent(connect, key, held):
    for _ in range(50):
        held.append(connect())


def half_open_flood(connect, key, held):
    for _ in range(600):
        sock = connect()
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.send(b"x")
        held.append(sock)


def gone_at_once(connect, key, held):
    for _ in range(300):
        connect().close()


def slow(connect, key, held):
    for _ in range(5):
        sock = connect()
        sock.sendall(b"\0")
        held.append(sock)


def garbage(connect, key, held):
    _say(connect, held, b"GET / HTTP/1.1\r\n\r\n" * 10)
    _say(connect, held, os.urandom(5000))
    _say(connect, held, b"\x80\x05cos\nsystem\n(S'touch /tmp/pwned'\ntR." * 3)
    _say(connect, held, encode(monitor_root.MonitorUp(start=0, rank=0, os_pid=1, host="h", port="")))
    _say(connect, held, b"20 1 1\nCMPI_SECRET=\xc3\xa9\xc3\xa9aaaa")
    _say(connect, held, b"99999999999999 1 1\n")
    assert not os.path.exists("/tmp/pwned")


def huge(connect, key, held):
    _say(connect, held, *[b"\xff" * (1 << 20)] * 8)


def wrong_secret(connect, key, held):
    for wrong in (b"wrong" * 6, b"\xc3\xa9" * 16, b"", bytes(32)):
        greeting = connect_greeting(connect, held)
        held[-1].sendall(authentication.Client(wrong, os.urandom(NONCE_BYTES)).answer(greeting))
        _expect_end(held[-1])


def replayed(connect, key, held):
    """Send an answer that was valid in another connection, and send back the door's own greeting and
    proof."""
    other = authentication.Server(key, os.urandom(NONCE_BYTES))
    answer = authentication.Client(key, os.urandom(NONCE_BYTES)).answer(other.greeting)
    proof = other.check(answer)
    for said in (answer, proof + bytes(ANSWER_BYTES - len(proof))):
        connect_greeting(connect, held)
        held[-1].sendall(said)
        _expect_end(held[-1])
    greeting = connect_greeting(connect, held)
    held[-1].sendall((greeting[len(MAGIC) :] + proof).ljust(ANSWER_BYTES, b"\0"))
    _expect_end(held[-1])


def passes_descriptors(connect, key, held):
    """A visitor without a proof passes descriptors: they must not be received, so the other end of a passed
    pipe sees the end when ours is closed."""
    sock = connect()
    held.append(sock)
    if sock.family != socket.AF_UNIX:
        return
    read, write = os.pipe()
    rights = (write).to_bytes(4, "little") * 50
    sock.sendmsg([b"x" * ANSWER_BYTES], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(write)
    with open(read, "rb") as pipe:
        sock.settimeout(20)
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass
        assert pipe.read() == b""


def connect_greeting(connect, held):
    sock = connect()
    held.append(sock)
    sock.settimeout(20)
    greeting = b""
    while len(greeting) < GREETING_BYTES:
        greeting += sock.recv(GREETING_BYTES - len(greeting))
    return greeting


def _expect_end(sock):
    with contextlib.suppress(ConnectionError):
        assert sock.recv(1) == b""


ALL = [
    silent, half_open_flood, gone_at_once, slow, garbage, huge, wrong_secret, replayed, passes_descriptors,
]  # fmt: skip
