"""Real connections by sockets, in one process."""

import os
import random
import select
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi._transport import socket_transport
from cmpi._transport.mpi import TransportBroken

KEY = b"k" * 32


def meet(key=KEY, other=KEY, at="127.0.0.1"):
    """Both ends of a connection, by TCP or at a path."""
    door, transports = socket_transport.listen(at, key), []
    dial = lambda: transports.append(socket_transport.dial(at, socket_transport.port_of(door), other, 5))  # noqa: E731
    thread = threading.Thread(target=dial)
    thread.start()
    transports.append(socket_transport.accept(door, 5 if key == other else 0.5))
    thread.join()
    socket_transport.close(door)
    assert not os.path.exists(at)
    return transports


def wait(transport, write=False):
    poll = select.poll()
    poll.register(transport.fileno(), select.POLLIN | (select.POLLOUT if write else 0))
    assert poll.poll(5000), "nothing came"


@settings(max_examples=settings.default.max_examples * 3 // 10)
@given(st.lists(st.lists(st.integers(0, 3_000_000), max_size=3), max_size=6), st.integers(0, 9))
def test_frames_and_buffers_of_any_size_arrive_in_order_and_whole(messages, seed):
    a, b = meet()
    rng = random.Random(seed)
    bodies = [[rng.randbytes(size) for size in sizes] for sizes in messages]
    freed = []
    for i, buffers in enumerate(bodies):
        a.send(bytes([i]) * (i * 1000 + 1))
        if buffers:
            a.send_buffers(buffers, lambda i=i: freed.append(i))
    came = []
    while len(came) < len(bodies) or not all(parts.ready() for _, parts in came):
        a.progress_sends()
        while (head := b.receive()) is not None:
            came.append((head, b.expect([len(buffer) for buffer in bodies[len(came)]])))
    assert [head for head, _ in came] == [bytes([i]) * (i * 1000 + 1) for i in range(len(bodies))]
    assert [[bytes(buffer) for buffer in parts.buffers] for _, parts in came] == bodies
    assert not a.busy and freed == [i for i, buffers in enumerate(bodies) if buffers]
    assert a.sent == b.received == len(bodies)
    a.free()
    wait(b)
    with pytest.raises(TransportBroken):
        b.receive()
    assert b.fileno() == -1
    b.free()


def test_a_client_without_the_key_is_rejected(tmp_path):
    assert meet(other=b"x" * 32) == [None, None]
    assert meet(other=b"x" * 32, at=f"{tmp_path}/link") == [None, None]


def test_accept_and_dial_return_none_without_a_peer():
    door = socket_transport.listen("127.0.0.1", KEY)
    port = socket_transport.port_of(door)
    assert socket_transport.accept(door, 0.05) is None
    socket_transport.close(door)
    assert socket_transport.dial("127.0.0.1", port, KEY, 1) is None
    assert socket_transport.dial("/no/such/path", 0, KEY, 1) is None


def test_a_host_without_its_public_address_listens_at_all_its_addresses():
    door = socket_transport.listen("192.0.2.1", KEY)
    assert door.server.getsockname()[0] in ("0.0.0.0", "::")
    socket_transport.close(door)


def test_a_frame_arrives_with_its_tag():
    a, b = meet()
    for tag in (7, socket_transport.FRAME, 0):
        a.send(b"x" * tag if tag < 8 else b"y", tag)
    came = []
    while len(came) < 3:
        if (head := b.receive()) is not None:
            came.append((b.tag, head))
    assert came == [(7, b"x" * 7), (socket_transport.FRAME, b"y"), (0, b"")]
    a.free()
    b.free()


def test_a_frame_of_absurd_length_breaks_the_connection():
    a, b = meet()
    a._sock.sendall(b"\xff" * 8)
    wait(b)
    with pytest.raises(TransportBroken, match="4294967295"):
        b.receive()
    a.free()
    b.free()


def test_messages_before_the_close_are_received_while_sends_are_pending():
    a, b = meet()
    b.send(b"a last word")
    a.send_buffers([bytes(30_000_000)], lambda: pytest.fail("nobody has read that"))
    assert a.busy
    b.free()
    while a.busy:
        a.progress_sends()  # notices that the peer no longer reads
    a.send(b"nor this")
    assert a.receive() == b"a last word"
    with pytest.raises(TransportBroken):
        a.receive()
    a.free()
