"""The contract of a transport, as programs that its two ends run: over memory, over TCP, and over MPI.

Each program is a generator that yields where it has to wait, so that a test that runs two of them in one
process can choose the order.

    mpiexec -n 2 python -m tests.transport.transport_contract
    python -m tests.transport.transport_contract ADDRESS         # says its port, and waits for
    python -m tests.transport.transport_contract ADDRESS PORT    # which may be on another host
"""

import random
import sys
import time
import weakref
from collections import deque

PROGRAMS = []
KEY = b"k" * 32
EARLY = weakref.WeakKeyDictionary()  # frames by their transport


def program(function):
    PROGRAMS.append(function)
    return function


def head(transport):
    """The next frame."""
    if EARLY.get(transport):
        return EARLY[transport].popleft()
    while (frame := transport.receive()) is None:
        transport.progress_sends()
        yield
    return frame


def whole(transport, parts):
    """Yield until all of the last buffers are here. Reading them, a TCP transport may find the first frame
    of the next program, if the other end is already there."""
    while not parts.ready():
        look(transport)
        yield


def look(transport):
    """Move what can be moved; keep a frame for later."""
    if (frame := transport.receive()) is not None:
        EARLY.setdefault(transport, deque()).append(frame)
    transport.progress_sends()


@program
def frames_arrive_once_and_in_order(transport, first):
    for i in range(300):
        transport.send(b"%d" % i * (i % 50))
    for i in range(300):
        assert (yield from head(transport)) == b"%d" % i * (i % 50)


@program
def buffers_follow_their_frames_whatever_their_sizes(transport, first):
    choice = random.Random(7)
    sizes = [[choice.choice((0, 1, 1000, 70_000, 1_000_000)) for _ in range(i % 4)] for i in range(24)]
    freed = []
    for i, several in enumerate(sizes):
        transport.send(bytes([i, first]))
        if several:
            buffers = [bytes([i + j]) * size for j, size in enumerate(several)]
            transport.send_buffers(buffers, lambda i=i: freed.append(i))
    waiting = []
    for i, several in enumerate(sizes):
        assert (yield from head(transport)) == bytes([i, not first])
        if several:
            waiting.append((i, several, transport.expect(several)))
    for i, several, parts in waiting:
        yield from whole(transport, parts)
        assert [bytes(b) for b in parts.buffers] == [bytes([i + j]) * n for j, n in enumerate(several)]
    told = [i for i, several in enumerate(sizes) if several]
    while len(freed) < len(told):
        look(transport)  # by a socket, an acknowledgement has to come
        yield
    assert freed == told, "each once, in order"


@program
def a_question_is_answered_while_much_is_under_way(transport, first):
    if first:
        transport.send(b"much")
        transport.send_buffers([bytearray(5_000_000)], None)
        transport.send(b"question")
        assert (yield from head(transport)) == b"answer"
    else:
        assert (yield from head(transport)) == b"much"
        parts = transport.expect([5_000_000])
        assert (yield from head(transport)) == b"question"
        transport.send(b"answer")
        yield from whole(transport, parts)


def run_all(transport, first):
    for each in PROGRAMS:
        end_s = time.monotonic() + 30
        for _ in each(transport, first):
            assert time.monotonic() < end_s, f"{each.__name__} hangs"
            time.sleep(0)
    while transport.busy:
        transport.progress_sends()
    print("ok", flush=True)


def over_mpi():
    """In two ranks: a communicator of the two, created as for ranks of one world."""
    from cmpi._transport import mpi

    mpi.initialize()
    rank, size = mpi.world()
    assert size == 2
    mpi.CHUNK_BYTES = 300_000  # so that a megabyte is sent in pieces, as gigabytes are
    transport = mpi.group(1 - rank)
    run_all(transport, rank == 0)
    transport.free()
    mpi.finalize()


def over_tcp(address, port=None):
    from cmpi._transport import socket_transport

    if port is None:
        door = socket_transport.listen(address, KEY)
        print(socket_transport.port_of(door), flush=True)
        sock = socket_transport.accept(door, 30)
        socket_transport.close(door)
    else:
        sock = socket_transport.dial(address, int(port), KEY, 30)
    assert sock is not None
    transport = socket_transport.SocketTransport(sock)
    run_all(transport, port is None)
    transport.free()


if __name__ == "__main__":
    over_tcp(*sys.argv[1:]) if sys.argv[1:] else over_mpi()
