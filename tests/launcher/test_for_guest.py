"""The cmpirun that sees to a guest's job in Slurm: what it finds in the output, and when it cancels."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi.launcher.slurm import for_guest
from cmpi.launcher.slurm.for_guest import GuestWatch

LINES = st.lists(st.sampled_from([b"", b"cmpirun: up", b"module loaded", b"x" * 70]), max_size=3)


@pytest.fixture
def signals():
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def asked(monkeypatch, signals):
    """What Slurm is asked, with a clock that the test sets."""
    asked = []
    monkeypatch.setattr(for_guest, "ask", lambda *words: asked.append(words))
    asked_s = [1000.0]
    monkeypatch.setattr(for_guest.time, "monotonic", lambda: asked_s[0])
    return asked, asked_s


@given(before=LINES, after=LINES, cut=st.integers(1, 9))
def test_the_line_is_found_in_whatever_pieces_it_comes_and_is_not_shown(before, after, cut):
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    }
    read, write = os.pipe()
    try:
        watch = GuestWatch(os.getpid(), write)
        whole = b"".join(line + b"\n" for line in [*before, for_guest.up("n1:lab").encode(), *after])
        pieces = [whole[at : at + cut] for at in range(0, len(whole), cut)]
        shown = b"".join(watch.show(1, piece) for piece in pieces)
        assert shown == b"".join(line + b"\n" for line in [*before, *after])
        with open(read) as ready:
            assert ready.read() == "n1:lab\n"
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_guest_that_ends_before_the_job_is_up_takes_it_back_at_once_and_again(asked):
    asked, now_s = asked
    guest = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    watch = GuestWatch(guest.pid, os.dup(1))
    watch.turn("7")
    assert asked == []
    guest.communicate()
    watch.turn("7")
    watch.turn("7")
    assert asked == [("scancel", "7")]
    now_s[0] += for_guest.CANCEL_AGAIN_S
    watch.turn("7")
    assert asked == [("scancel", "7")] * 2


def test_a_job_that_is_up_has_time_to_end_by_itself(asked):
    asked, now_s = asked
    read, write = os.pipe()
    watch = GuestWatch(os.getpid(), write)
    watch.show(1, for_guest.up("n1:lab").encode() + b"\n")
    os.close(read)
    os.kill(os.getpid(), signal.SIGTERM)
    watch.turn("7")
    assert asked == []
    now_s[0] += for_guest.LEAVE_S
    watch.turn("7")
    assert asked == [("scancel", "7")]


def test_the_cmpirun_in_the_job_serves_its_first_guest():
    from cmpi.launcher import cli
    from cmpi.launcher.slurm import commands

    given = ["--keeper=17,5", "--serve", "--slurm", "--nodes=2", "--time=1:00", "--name=lab"]
    text = commands._script(cli.parse(given))
    (line,) = [it for it in text.splitlines() if "--serve" in it]
    assert "--keeper first-guest --serve --name=lab" in line and "17" not in line
