"""The pipe by which the spawn completer waits until the root needs it."""

import os
import threading

import pytest

from cmpi._runtime import environment
from cmpi._runtime.linux import pid_files
from cmpi._runtime.root import spawning_mpi


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a job on cmpirun's host, where the root has announced itself."""
    monkeypatch.setenv(environment.JOB, str(tmp_path))
    monkeypatch.delenv(environment.HOST, raising=False)
    monkeypatch.setattr(spawning_mpi, "LOOK_S", 0.01)
    spawning_mpi.make_pipe(str(tmp_path))
    pid_files.announce(str(tmp_path), pid_files.ROOT)
    return tmp_path


def waited(folder, act):
    """What the spawn completer is told if `act` is done while it waits."""
    thread = threading.Timer(0.05, act)
    thread.start()
    try:
        return spawning_mpi.wait_until_needed(str(folder))
    finally:
        thread.join()


@pytest.mark.parametrize(("word", "needed"), [(spawning_mpi.NEEDED, True), (spawning_mpi.OVER, False)])
def test_it_hears_the_root_before_and_while_it_waits(folder, word, needed):
    spawning_mpi.tell_completer(word)
    assert spawning_mpi.wait_until_needed(str(folder)) is needed
    assert waited(folder, lambda: spawning_mpi.tell_completer(word)) is needed


def test_it_ends_with_the_jobs_folder(folder):
    assert waited(folder, lambda: os.unlink(folder / spawning_mpi.PIPE)) is False
    assert spawning_mpi.wait_until_needed(str(folder)) is False


def test_it_ends_if_the_root_dies_without_a_word(folder):
    pid_files.withdraw(str(folder))
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert waited(folder, lambda: pid_files.announce(str(folder), pid_files.ROOT, pid=child)) is False


def test_a_host_spawner_tells_nobody(folder, monkeypatch):
    monkeypatch.setenv(environment.HOST, "h2")
    spawning_mpi.tell_completer(spawning_mpi.NEEDED)
    monkeypatch.delenv(environment.HOST)
    spawning_mpi.tell_completer(spawning_mpi.OVER)
    assert spawning_mpi.wait_until_needed(str(folder)) is False
