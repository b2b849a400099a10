"""The thread that calls MPI_Comm_spawn, and what becomes of starts, with a stand-in for MPI."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from cmpi._core.awake_clock import STEP_S
from cmpi._core.job.job_actions import Launch
from cmpi._core.job.process_table import START_S
from cmpi._runtime import environment, programs
from cmpi._runtime.linux import pid_files
from cmpi._runtime.root import spawning_mpi
from cmpi._runtime.root.host_starts import MOST_ABANDONED, UNSEEN_S, HostStarts
from cmpi._transport import clock
from tests.mpi.conftest import SLOWNESS


class Mpi:
    """MPI_Comm_spawn: it returns when it may."""

    def __init__(self):
        self.called, self.may_return = [], {}

    def spawn(self, argv, n, host):
        may_return = self.may_return[int(argv[-1])] = threading.Event()
        self.called.append(int(argv[-1]))
        may_return.wait()

    def wait_for(self, *starts):
        end_s = time.monotonic() + 10 * SLOWNESS
        while tuple(self.called) != starts:
            assert time.monotonic() < end_s, self.called
            time.sleep(0.001)


@pytest.fixture
def mpi(monkeypatch, tmp_path):
    mpi = Mpi()
    monkeypatch.setenv(environment.JOB, str(tmp_path))
    monkeypatch.setattr(spawning_mpi, "start", str)
    monkeypatch.setattr("cmpi._transport.mpi.spawn", mpi.spawn)
    yield mpi
    for event in mpi.may_return.values():
        event.set()


@pytest.fixture
def starts(mpi, tmp_path):
    """The starts of a host, of which the first is in MPI_Comm_spawn."""
    starts = HostStarts(str(tmp_path), lambda *_: None)
    assert not starts.launch(launch(1))
    mpi.wait_for(1)
    return starts


def launch(start):
    return Launch(start, [start], "here", False)


def stub(folder, start):
    """A process that looks like a spawn stub on its way to write its file."""
    words = [programs.path_of(programs.SPAWN_STUB), str(start)]
    waits = [sys.executable, "-c", "print(flush=True); input()", *words]
    env = os.environ | {environment.JOB: str(folder)}
    process = subprocess.Popen(waits, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_starts_are_hopeless_once_mpi_has_not_returned_for_long(starts, mpi, tmp_path):
    with stub(tmp_path, 1) as process:
        now_s = clock.now_s()
        assert not starts.launch(launch(2)) and starts.hopeless(now_s + START_S / 2) == []
        (_, reason), (second, _) = starts.hopeless(now_s + START_S + 1)
        assert second == 2 and re.search(r"has not returned in \d+ s", reason), reason
        process.stdin.close()
    assert starts.hopeless(now_s + UNSEEN_S + 1), "its stub has ended"
    mpi.may_return[1].set()
    assert not starts.hopeless(now_s + START_S + 1), "nothing is being started"


def test_a_start_whose_process_was_never_seen_is_given_up_and_the_next_one_is_made(starts, mpi, tmp_path):
    assert not starts.launch(launch(2))
    now_s = clock.now_s()
    with stub(tmp_path, 1) as process:
        assert starts.hopeless(now_s + UNSEEN_S + 1) == [], "it is on its way"
        process.stdin.close()
    starts.came("start 7 0")
    assert starts.hopeless(clock.now_s() + UNSEEN_S / 2) == [], "MPI's launcher is at work"
    assert starts.hopeless(now_s + UNSEEN_S + 10) == [
        (1, "MPI's process for it has ended before it could report")
    ]
    mpi.wait_for(1, 2)
    for start in (1, 2):
        mpi.may_return[start].set()
    assert starts.close() and not starts.busy


def test_it_gives_up_only_a_few_calls_and_says_at_the_end_that_they_are_stuck(starts, mpi):
    for start in range(2, MOST_ABANDONED + 2):
        ((given_up, _),) = starts.hopeless(clock.now_s() + UNSEEN_S + 1)
        assert given_up == start - 1 and not starts.launch(launch(start))
        mpi.wait_for(*range(1, start + 1))
    assert starts.hopeless(clock.now_s() + UNSEEN_S + 1) == []
    mpi.may_return[start].set()
    assert not starts.close()


def test_a_stub_is_found_by_its_number_and_the_folder_of_its_job(tmp_path):
    with stub(tmp_path, 5) as process:
        assert pid_files.is_starting(str(tmp_path), 5)
        assert not pid_files.is_starting(str(tmp_path), 6) and not pid_files.is_starting("/else/where", 5)
        process.stdin.close()
    assert not pid_files.is_starting(str(tmp_path), 5)


STOPPED = """
import sys, threading, time
from cmpi._core.job import process_table
from cmpi._runtime.root import host_starts, spawning_mpi
from cmpi._core.job.job_actions import Launch
from cmpi._transport import clock, mpi
from cmpi._runtime.root.root_loop import RootLoop
host_starts.START_S = host_starts.UNSEEN_S = float(sys.argv[1])
called = threading.Event()
spawning_mpi.start = str
mpi.spawn = lambda *_: (called.set(), threading.Event().wait())
starts, loop = host_starts.HostStarts("/no/such/job", print), RootLoop()
starts.launch(Launch(1, [1], "here", False))
called.wait()
def turns(seconds):
    end_s = clock.now_s() + seconds
    while clock.now_s() < end_s:
        loop.turn(clock.patience_s([end_s]))
print("started", flush=True)
turns(0.5)
print(starts.hopeless(clock.now_s()), flush=True)
turns(host_starts.START_S)
print(len(starts.hopeless(clock.now_s())), flush=True)
import os
os._exit(0)
"""


def test_the_time_in_which_the_job_was_stopped_does_not_count_against_a_start():
    limit_s = STEP_S + 1.5  # of which a stop counts as one step
    argv = [sys.executable, "-c", STOPPED, str(limit_s)]
    environ = os.environ | {environment.JOB: "/no/such/job"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(limit_s + 0.5)  # by every other clock, the limit has passed
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "[]\n1\n"
