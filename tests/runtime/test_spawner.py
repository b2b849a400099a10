"""The thread that calls MPI_Comm_spawn, with a stand-in for MPI."""

import threading
import time

import pytest

from cmpi._core.job.job_actions import Launch
from cmpi._core.job.process_table import START_S
from cmpi._runtime import environment
from cmpi._runtime.root import spawner
from cmpi._runtime.root.spawner import Spawner


@pytest.fixture
def blocked(monkeypatch):
    """A spawner whose MPI_Comm_spawn has been called, and an event that lets it return."""
    called, may_return = threading.Event(), threading.Event()

    def spawn(*_):
        called.set()
        may_return.wait()

    monkeypatch.setenv(environment.JOB, "/")
    monkeypatch.setattr(spawner.mpi, "spawn", spawn)
    spawning = Spawner(lambda *_: None)
    spawning.submit(Launch(1, [1], "here", False))
    called.wait()
    yield spawning, may_return
    may_return.set()
    assert spawning.close()


def test_starts_are_hopeless_once_mpi_has_not_returned_for_long(blocked):
    spawning, may_return = blocked
    now_s = time.monotonic()
    assert not spawning.stuck(0.0, now_s)
    assert "has not returned in 61 s" in spawning.stuck(0.0, now_s + START_S + 1)
    assert not spawning.stuck(now_s + START_S, now_s + START_S + 1)  # it still brings processes up
    spawning.submit(Launch(2, [2], "here", False))
    assert spawning.give_up() == [1, 2]
    may_return.set()
    while spawning.busy:
        time.sleep(0.001)
    assert not spawning.stuck(0.0, now_s + START_S + 1)
