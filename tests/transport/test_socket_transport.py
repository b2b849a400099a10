"""Real connections by sockets, in one process."""

import concurrent.futures
import os
import random
import select
import socket
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi._transport import socket_transport
from cmpi._transport.mpi import TransportBroken
from cmpi._transport.socket_transport import SocketTransport
from cmpi.errors import ProtocolError

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
    return [None if sock is None else SocketTransport(sock) for sock in transports]


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
        assert a.receive() is None
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
    while a.progress_sends():
        pass  # until it notices that the peer no longer reads
    a.send(b"this has to wait")
    assert a.receive() == b"a last word"
    with pytest.raises(TransportBroken):
        a.receive()
    assert a.fileno() == -1 and a.receive() is None
    a.free()


def reconnect(a, b):
    """Replace the sockets of both ends, as their connectors do."""
    positions = [end.suspend() for end in (a, b)]
    sockets = socket.socketpair()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        told = [*pool.map(socket_transport.exchange, sockets, positions)]
    assert told == positions[::-1]
    a.resume(sockets[0], told[0])
    b.resume(sockets[1], told[1])


@pytest.mark.parametrize("seed", range(8))
def test_every_frame_arrives_once_and_whole_although_the_socket_drops_again_and_again(seed):
    choice = random.Random(seed)
    ends = [SocketTransport(sock) for sock in socket.socketpair()]
    numbers, came, parts, freed = [0, 0], ([], []), ([], []), ([], [])
    n = 150

    def shut(end):
        if end.fileno() >= 0:
            with socket.socket(fileno=os.dup(end.fileno())) as sock:
                sock.shutdown(choice.choice([socket.SHUT_RDWR, socket.SHUT_WR]))

    def take(i):
        try:
            while (head := ends[i].receive()) is not None:
                number, size = struct.unpack("<II", head)
                came[i].append(number)
                if size:
                    parts[i].append((number, size, ends[i].expect([size, 5])))
        except TransportBroken:
            return False
        return True

    drops = 0
    while min(map(len, came)) < n or any(not it.ready() for each in parts for _, _, it in each):
        i = choice.randrange(2)
        if numbers[i] < n:
            number, size = numbers[i], choice.choice([0, 0, 10, 70_000, 2_000_000])
            ends[i].send(struct.pack("<II", number, size))
            if size:
                buffers = [bytearray([number]) * size, bytearray(b"%05d" % number)]

                def done(i=i, buffers=buffers, number=number):
                    freed[i].append(number)
                    for buffer in buffers:
                        buffer[:] = bytes(len(buffer))  # the caller writes into them again

                ends[i].send_buffers(buffers, done)
            numbers[i] += 1
        if choice.random() < 0.2:
            shut(choice.choice(ends))
            drops += 1
        for end in ends:
            end.progress_sends()
        if not all([take(0), take(1)]):
            reconnect(*ends)
    for i in range(2):
        assert came[i] == [*range(n)] and ends[i].received == ends[1 - i].sent == n
        for number, size, it in parts[i]:
            assert [bytes(buffer) for buffer in it.buffers] == [bytes([number]) * size, b"%05d" % number]
        assert freed[1 - i] == [number for number, _, _ in parts[i]][: len(freed[1 - i])]
    assert drops > 20 and len(freed[0]) > 20
    for end in ends:
        end.free()


def test_buffers_are_the_callers_again_when_all_but_their_last_part_is_acknowledged():
    a, b = (SocketTransport(sock) for sock in socket.socketpair())
    buffer, freed = bytearray(8 << 20), []
    a.send(b"")
    a.send_buffers([buffer], lambda: freed.append(1))
    assert b.receive() == b""
    parts = b.expect([len(buffer)])
    while not parts.ready():
        a.progress_sends()
        assert b.receive() is None
        assert not freed or a._stream.written == a._stream.sent
        a.receive()
    assert freed == [1]
    buffer.extend(b"x")  # nothing refers to its memory any more
    a.free()
    b.free()


def test_a_socket_of_somebody_else_is_refused():
    a, b = meet()
    a.send(b"x")
    a.suspend()
    with pytest.raises(ProtocolError, match="has received 1000 bytes, of 9"), socket.socket() as sock:
        a.resume(sock, 1000)
    b.free()
