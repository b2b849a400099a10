"""What a link promises, as programs that its two ends run: over memory, and over MPI.

Each program is a generator that yields where it has to wait, so that whoever runs two of them in one
process chooses the order.

    mpiexec -n 2 python -m tests.transport.link_contract
"""

import random
import sys
import time

PROGRAMS = []


def program(function):
    PROGRAMS.append(function)
    return function


def head(link):
    """The next frame."""
    while (frame := link.receive()) is None:
        link.progress_sends()
        yield
    return frame


@program
def frames_arrive_once_and_in_order(link, first):
    for i in range(300):
        link.send(b"%d" % i * (i % 50))
    for i in range(300):
        assert (yield from head(link)) == b"%d" % i * (i % 50)


@program
def buffers_follow_their_frames_whatever_their_sizes(link, first):
    choice = random.Random(7)
    sizes = [[choice.choice((0, 1, 1000, 70_000, 1_000_000)) for _ in range(i % 4)] for i in range(24)]
    freed = []
    for i, several in enumerate(sizes):
        link.send(bytes([i, first]))
        if several:
            buffers = [bytes([i + j]) * size for j, size in enumerate(several)]
            link.send_buffers(buffers, lambda i=i: freed.append(i))
    waiting = []
    for i, several in enumerate(sizes):
        assert (yield from head(link)) == bytes([i, not first])
        if several:
            waiting.append((i, several, link.expect(several)))
    for i, several, parts in waiting:
        while not parts.ready():
            link.progress_sends()
            yield
        assert [bytes(b) for b in parts.buffers] == [bytes([i + j]) * n for j, n in enumerate(several)]
    told = [i for i, several in enumerate(sizes) if several]
    while len(freed) < len(told):
        link.progress_sends()
        yield
    assert freed == told, "each once, in order"


@program
def a_question_is_answered_while_much_is_under_way(link, first):
    if first:
        link.send(b"much")
        link.send_buffers([bytearray(5_000_000)], None)
        link.send(b"question")
        assert (yield from head(link)) == b"answer"
    else:
        assert (yield from head(link)) == b"much"
        parts = link.expect([5_000_000])
        assert (yield from head(link)) == b"question"
        link.send(b"answer")
        while not parts.ready():
            link.progress_sends()
            yield


def main():
    """Over MPI, in two ranks: a communicator of the two, as cmpi makes it for ranks of one world."""
    from cmpi._transport import mpi

    mpi.initialize()
    rank, size = mpi.world()
    assert size == 2
    mpi.CHUNK_BYTES = 300_000  # so that a megabyte goes in pieces, as gigabytes do
    link = mpi.group(1 - rank)
    for each in PROGRAMS:
        end_s = time.monotonic() + 30
        for _ in each(link, rank == 0):
            assert time.monotonic() < end_s, f"{each.__name__} hangs"
            time.sleep(0)
    while link.busy:
        link.progress_sends()
    print("ok", flush=True)
    link.free()
    mpi.finalize()


if __name__ == "__main__":
    sys.exit(main())
