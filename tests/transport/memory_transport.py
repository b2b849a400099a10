"""A transport within one process, whose deliveries are delayed by a seed: the slowest that MPI may be."""

import random
from collections import deque


class Parts:
    def __init__(self, transport, sizes):
        self.buffers = [bytearray(size) for size in sizes]
        self._transport, self._left = transport, list(self.buffers)

    def ready(self):
        while (
            self._left
            and self._transport.bulk_in
            and self._transport.expected[0] is self
            and self._transport.lucky()
        ):
            data = self._transport.bulk_in.popleft()
            assert len(data) == len(self._left[0]), "a buffer for another"
            self._left.pop(0)[:] = data
            if not self._left:
                self._transport.expected.popleft()
        return not self._left


class MemoryTransport:
    """Like `mpi.MpiTransport`. It reads a sent buffer only when it delivers it, so a test notices if the
    sender changes the buffer too early."""

    waitable = False

    def __init__(self, choice):
        self._choice = choice
        self.sent = self.received = 0
        self.freed = False
        self.heads, self.bulk_in, self.expected = deque(), deque(), deque()
        self._sends = deque()
        self.peer = None
        self.may_be_used = lambda: True  # otherwise another thread is inside MPI

    def lucky(self):
        return self._choice.random() < 0.5

    @property
    def busy(self):
        return bool(self._sends)

    def send(self, frame):
        assert self.may_be_used() and not self.freed
        self.sent += 1
        self._sends.append((self.peer.heads, frame, None))

    def send_buffers(self, buffers, done):
        assert self.may_be_used()
        for i, buffer in enumerate(buffers, 1):
            self._sends.append((self.peer.bulk_in, buffer, done if i == len(buffers) else None))

    def progress_sends(self):
        assert self.may_be_used()
        moved = False
        while self._sends and self.lucky():
            queue, data, done = self._sends.popleft()
            queue.append(bytes(data))
            moved = True
            if done is not None:
                done()
        return moved

    def receive(self):
        self.progress_sends()
        if self.heads and self.lucky():
            self.received += 1
            return self.heads.popleft()
        return None

    def expect(self, sizes):
        assert self.may_be_used()
        parts = Parts(self, sizes)
        self.expected.append(parts)
        return parts

    def free(self):
        self.freed = True


def pair(seed):
    choice = random.Random(seed)
    a, b = MemoryTransport(choice), MemoryTransport(choice)
    a.peer, b.peer = b, a
    return a, b
