import os
import threading

import pytest

from cmpi._core.job.process_record import Process
from cmpi._core.output.output import Formatter
from cmpi._runtime.root import bridge as bridge_module
from cmpi._runtime.root.bridge import Bridge
from cmpi._runtime.stdin_feeder import StdinFeeder
from cmpi.identifiers import ExitStatus

RANK = Process(0xA, 0, 0, 0, "a")


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
        self.bridge.born(RANK, None)

    def read(self):
        """What was written, after the bridge has finished."""
        self.bridge.finish()
        found = []
        for read, write in ((self.out, self.fds[1]), (self.err, self.fds[2])):
            os.close(write)
            with os.fdopen(read, "rb") as file:
                found.append(file.read())
        return found


def test_a_terminal_that_blocks_for_long_loses_no_output(monkeypatch):
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


def test_the_bridge_waits_for_a_full_pipe():
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


def test_an_error_in_the_writing_thread_ends_the_job_at_once():
    output = Output()
    output.bridge._printed = lambda pid, nbytes: 1 / 0
    output.bridge.output(RANK.pid, 1, b"x\n")
    output.bridge.output(RANK.pid, 1, b"y\n")
    out, err = output.read()
    assert out == b"x\n" and b"InternalError" in err and b"ZeroDivisionError" in err
    assert output.lost.is_set()


def test_output_files_close_when_their_process_ends_and_keep_later_output_of_its_children(tmp_path):
    (tmp_path / "rank-0.stdout").write_text("of an earlier job")
    output = Output(tmp_path)
    children = [Process(i, RANK.pid, i, 0, "main.<locals>.work at job.py:3") for i in range(0x100, 0x120)]
    for child in children:
        output.bridge.born(child, RANK.pid)
        for fd in (1, 2):
            output.bridge.output(child.pid, fd, b"%d\n" % fd)
        output.bridge.died(child.pid, ExitStatus(0), {})
        output.bridge.output(child.pid, 1, b"later\n")
    output.bridge.output(RANK.pid, 1, b"x\n")
    output.bridge.output(RANK.pid, 1, b"y\n")
    written = threading.Event()
    output.bridge._printed = lambda pid, nbytes: written.set() if nbytes == 3 else None
    output.bridge.output(RANK.pid, 1, b"xyz")
    written.wait()
    opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if is_open(fd)]
    assert [path for path in opened if path.startswith(str(tmp_path))] == [f"{tmp_path}/rank-0.stdout"]
    assert (tmp_path / "rank-0.stdout").read_text() == "x\ny\nxyz"
    assert (tmp_path / "work-0000100.stdout").read_text() == "1\nlater\n"
    assert (tmp_path / "work-0000100.stderr").read_text() == "2\n"
    assert len(list(tmp_path.iterdir())) == 1 + 2 * len(children)
    output.bridge.died(RANK.pid, ExitStatus(0), {})
    output.read()


@pytest.mark.parametrize("full", [True, False], ids=["a full disk", "a reader that has left"])
def test_unwritable_output_ends_the_job_and_a_full_disk_is_reported(full):
    output = Output()
    if full:
        with open("/dev/full", "wb", buffering=0) as file:
            os.dup2(file.fileno(), output.fds[1])
    else:
        os.close(output.out)
        output.out = os.open(os.devnull, os.O_RDONLY)
    output.bridge.output(RANK.pid, 1, b"x\n")
    said = b"cmpirun: cannot write the job's output: No space left on device\n" if full else b""
    assert output.read() == [b"", said] and output.lost.is_set()


def is_open(fd):
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize("before", [b"", b"some"])
def test_empty_stdin_is_not_taken_for_closed_stdin(before):
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
