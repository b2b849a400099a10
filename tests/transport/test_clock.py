"""Limits that do not count the time in which the job is stopped."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from cmpi._core.awake_clock import STEP_S
from cmpi._core.protocol import launcher_root
from cmpi._core.protocol.wire import encode
from cmpi._transport import clock

WAITS = """
import socket, sys
from cmpi._transport import control_socket, proof
from cmpi._core.protocol import launcher_root
proof.HANDSHAKE_S = control_socket.HANDSHAKE_S = {limit_s}
sock = socket.socket(fileno=int(sys.argv[1]))
print("waits", flush=True)
{wait}
"""
EXACTLY = "print(proof.receive_exactly(sock, 4, {limit_s}))"
FIRST_FRAME = """
stream = control_socket.ControlSocket(sock, launcher_root.TO_LAUNCHER)
print(control_socket.receive_with_fds(stream)[0])
"""


@pytest.mark.parametrize(
    ("wait", "answer"), [(EXACTLY, "b'word'"), (FIRST_FRAME, "Final(code=3)")], ids=["proof", "first frame"]
)
def test_the_time_in_which_a_process_is_stopped_does_not_count_against_the_others_answer(wait, answer):
    limit_s = STEP_S + 2.0  # of which a stop counts as one step
    ours, theirs = socket.socketpair()
    program = WAITS.format(limit_s=limit_s, wait=wait.format(limit_s=limit_s))
    argv = [sys.executable, "-c", program, str(theirs.fileno())]
    waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()], text=True)
    with ours, theirs, waiting as process:
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(limit_s + 0.5)  # by every other clock, the limit has passed
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)  # the other end was stopped too, and answers only now
        ours.send(b"word" if wait == EXACTLY else encode(launcher_root.Final(3)))
        assert process.stdout.read() == f"{answer}\n"


def test_a_wait_ends_at_its_limit_or_when_there_is_something_to_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before_s = clock.now_s()
        assert not clock.wait_readable(theirs.fileno(), before_s + 0.05)
        assert clock.now_s() >= before_s + 0.05
        ours.send(b"x")
        assert clock.wait_readable(theirs.fileno(), before_s)


def test_a_loop_sleeps_until_the_first_time_but_for_a_step_at_most():
    assert clock.patience_s([None, None]) is None
    assert clock.patience_s([None, clock.now_s() - 1.0]) == 0.0
    assert 0.0 < clock.patience_s([clock.now_s() + 0.5, clock.now_s() + 9.0]) <= 0.5
    assert clock.patience_s([clock.now_s() + 9.0]) == STEP_S
