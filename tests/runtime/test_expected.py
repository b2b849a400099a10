"""Deaths of processes that were started and have not reported, and what the files tell about processes."""

import os
import subprocess
import sys

import pytest

from cmpi._runtime.linux import pid_files
from cmpi._runtime.root.expected import LOOK_S, Expected

START = pid_files.start(3, 1)


class Host:
    """The files that exist, and the processes that run."""

    def __init__(self):
        self.files, self.running = {}, set()
        self.expected = Expected("/job", lambda folder: self.files, lambda pid: pid in self.running)


def test_a_process_that_dies_before_it_connects_is_reported_once_with_its_port():
    host = Host()
    host.expected.started(START, 10.0)
    assert host.expected.deadline_s == 10.0 + LOOK_S and host.expected.ended(10.0) == []
    host.files, host.running = {7: f"{START}\nport"}, {7}
    assert host.expected.ended(10.0 + LOOK_S) == []
    host.running.clear()
    assert host.expected.ended(10.5 + LOOK_S) == [], "not yet due"
    assert host.expected.ended(10.0 + 2 * LOOK_S) == [(START, "port")]
    assert host.expected.deadline_s is None and host.expected.ended(100.0) == []


def test_a_process_that_reported_or_has_no_pid_file_yet_counts_as_alive():
    host = Host()
    host.expected.started(START, 0.0)
    assert host.expected.ended(50.0) == [], "MPI's launcher may be slow"
    host.files = {7: f"{START}\n"}
    host.expected.came(START, 0.0)
    assert host.expected.ended(100.0) == [] and host.expected.deadline_s is None


@pytest.mark.parametrize("what", [START, pid_files.COMPLETER])
def test_the_pid_file_tells_whether_its_process_is_alive(tmp_path, what):
    folder = str(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid_files.announce(folder, what, "a port", pid=child.pid)
    assert pid_files.announced(folder) == {child.pid: f"{what}\na port"} and pid_files.runs(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not pid_files.runs(child.pid), "a zombie has ended"
    child.wait()
    child.stdin.close()
    assert not pid_files.runs(child.pid)
    expected = Expected(folder)
    expected.started(what, 0.0)
    assert expected.ended(LOOK_S) == [(what, "a port")]


def test_a_process_that_ends_normally_removes_its_pid_file(tmp_path):
    pid_files.announce(str(tmp_path), START)
    pid_files.withdraw(str(tmp_path))
    assert pid_files.announced(str(tmp_path)) == {} == pid_files.announced("/no/such/folder")
