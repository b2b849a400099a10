"""The relay between MPICH's launcher and a process: everything except an abort is passed on."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from cmpi._transport.pmi_relay import PmiRelay

PROCESS = """
import os, socket, sys
pmi = socket.socket(fileno=int(os.environ["PMI_FD"])).makefile("rw")
for line in sys.argv[1:]:
    pmi.write(line + "\\n"); pmi.flush()
    if pmi.readline() != "answer\\n": sys.exit(1)
"""


def converse(*lines, size="2"):
    """What the launcher received, and how the process ended."""
    launcher, theirs = socket.socketpair()
    with launcher, theirs, launcher.makefile("rb") as reader:
        os.set_inheritable(theirs.fileno(), True)
        environment = dict(os.environ, PMI_FD=str(theirs.fileno()), PMI_SIZE=size)
        argv = [sys.executable, "-c", PROCESS, *lines]
        with PmiRelay(environment, theirs.fileno()) as relay:
            process = subprocess.Popen(argv, env=environment, close_fds=False, start_new_session=True)
            relay.started(process.pid)
        heard = []
        for line in lines:
            if not line.startswith("cmd=abort"):
                heard.append(reader.readline().decode().rstrip())
                launcher.sendall(b"answer\n")
        _, status = os.waitpid(process.pid, 0)
        process.returncode = 0
        relay.stop()
        theirs.close()
        return heard + reader.read().decode().splitlines(), relay.status(status)


@pytest.mark.parametrize("size", ["1", "2"])
def test_pmi_requests_and_answers_are_relayed(size):
    assert converse("cmd=init", "cmd=finalize", size=size) == (["cmd=init", "cmd=finalize"], (0, 0))


@pytest.mark.parametrize("given, code", [("7", 7), ("0", 1), ("256", 1), ("x", 1)])
def test_an_abort_ends_the_process_with_its_code_and_is_not_relayed(given, code):
    assert converse("cmd=init", f"cmd=abort exitcode={given}") == (["cmd=init"], (code, 0))


def test_exit_codes_and_signals_are_reported_unchanged():
    relay = PmiRelay({}, -1)
    assert relay.status(3 << 8) == (3, 0)
    assert relay.status(signal.SIGKILL) == (137, signal.SIGKILL)
