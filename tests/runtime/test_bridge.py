import os
import threading

import pytest

from cmpi._core.job.output import Formatter, Speaker
from cmpi._runtime.root import bridge as bridge_module
from cmpi._runtime.root.bridge import Bridge
from cmpi._runtime.root.stdin_feeder import StdinFeeder

RANK = Speaker(0xA, None, "h", 0, "a")


class Output:
    """A bridge that writes to pipes, which `read` empties."""

    def __init__(self, folder=""):
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        self.fds = {1: out, 2: err}
        self.printed, self.lost = [], threading.Event()
        self.bridge = Bridge(
            Formatter("plain"),
            self.fds,
            str(folder),
            lambda pid, nbytes: self.printed.append((pid, nbytes)),
            self.lost.set,
        )
        self.bridge.born(RANK)

    def read(self):
        """What was written, once the bridge has finished."""
        self.bridge.finish()
        found = []
        for read, write in ((self.out, self.fds[1]), (self.err, self.fds[2])):
            os.close(write)
            with os.fdopen(read, "rb") as file:
                found.append(file.read())
        return found


def test_a_terminal_that_takes_nothing_for_long_loses_nothing(monkeypatch):
    output = Output()
    refusals, write = iter(range(3000)), os.write

    def refuse(fd, data):
        if fd == output.fds[1] and next(refusals, None) is not None:
            raise BlockingIOError
        return write(fd, data)

    monkeypatch.setattr(bridge_module.os, "write", refuse)
    output.bridge.output(RANK.pid, 1, b"all of it\n")
    assert output.read() == [b"all of it\n", b""]
    assert output.printed == [(RANK.pid, 10)]


def test_a_pipe_that_is_full_is_waited_for():
    output = Output()
    os.set_blocking(output.fds[1], False)
    text = b"x" * 99 + b"\n"
    for _ in range(5000):
        output.bridge.output(RANK.pid, 1, text)
    found = b""
    while len(found) < 5000 * len(text):
        found += os.read(output.out, 1 << 16)
    assert found == text * 5000
    assert output.read() == [b"", b""]


def test_a_fault_in_the_writing_thread_ends_the_job_and_not_the_patience():
    output = Output()
    output.bridge._printed = lambda pid, nbytes: 1 / 0
    output.bridge.output(RANK.pid, 1, b"x\n")
    output.bridge.output(RANK.pid, 1, b"y\n")
    out, err = output.read()
    assert out == b"x\n" and b"InternalError" in err and b"ZeroDivisionError" in err
    assert output.lost.is_set()


@pytest.mark.parametrize("before", [b"", b"some"])
def test_stdin_that_has_nothing_yet_has_not_ended(before):
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.write(write, before)
    heard, came = [], threading.Semaphore(0)
    feeder = StdinFeeder(read)

    def feed(data):
        heard.append(data)
        came.release()
        feeder.taken(len(data))

    feeder.start(feed)
    if before:
        came.acquire()
    os.write(write, b"later")
    came.acquire()
    os.close(write)
    came.acquire()
    assert heard == [*([before] if before else []), b"later", b""]
    os.close(read)
