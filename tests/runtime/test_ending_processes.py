"""Processes whose monitor was killed: their end is reported when they have ended, or after a while."""

import subprocess
import sys
import time

import pytest

from cmpi._runtime.root.ending_processes import ENDING_S, EndingProcesses
from cmpi._runtime.root.root_loop import RootLoop
from cmpi._transport import clock


class Table:
    def __init__(self, answers=True):
        self.loop, self.asked, self.reported = RootLoop(), [], []
        self.ending = EndingProcesses(self.loop, "here", lambda *what: self.asked.append(what) or answers)

    def wait_for(self, host, os_pid):
        self.ending.when_ended(host, os_pid, lambda: self.reported.append((host, os_pid)))


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_here_is_reported_when_it_has_ended(process):
    table = Table()
    table.wait_for("here", process.pid)
    table.loop.turn(0)
    table.ending.tick(clock.now_s())
    assert not table.reported and table.ending.deadline_s is not None
    process.kill()
    while not table.reported:
        table.loop.turn(1)
    assert table.reported == [("here", process.pid)] and table.ending.deadline_s is None
    process.wait()
    table.wait_for("here", process.pid)
    assert len(table.reported) == 2, "it has ended already"


def test_a_process_that_does_not_end_is_reported_after_a_while(process):
    table = Table()
    table.wait_for("here", process.pid)
    table.ending.tick(time.monotonic() + 2 * ENDING_S)
    assert table.reported == [("here", process.pid)] and table.ending.deadline_s is None
    process.kill()
    process.wait()
    table.loop.turn(0)
    assert len(table.reported) == 1


def test_another_host_is_asked_and_its_answer_or_the_time_reports_the_process():
    table = Table()
    table.wait_for("there", 7)
    table.wait_for("there", 8)
    assert table.asked == [("there", 7), ("there", 8)] and not table.reported
    table.ending.ended("elsewhere", 7)
    table.ending.ended("there", 7)
    table.ending.ended("there", 7)
    assert table.reported == [("there", 7)]
    table.ending.tick(clock.now_s() + 2 * ENDING_S)
    assert table.reported == [("there", 7), ("there", 8)]


def test_a_process_whose_host_cannot_be_asked_is_reported_at_once():
    table = Table(answers=False)
    table.wait_for("there", 7)
    assert table.reported == [("there", 7)]


def test_a_number_that_the_kernel_has_given_out_again_reports_the_first_process():
    table = Table()
    table.wait_for("there", 7)
    table.wait_for("there", 7)
    assert table.reported == [("there", 7)]
    table.ending.ended("there", 7)
    assert len(table.reported) == 2
