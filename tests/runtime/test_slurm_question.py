"""Questions that Slurm may not answer."""

import concurrent.futures
import stat
import time

import pytest

from cmpi._runtime import slurm_poller, slurm_question
from cmpi.errors import LaunchError


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A command that hangs while a file `hang` exists, and otherwise prints the contents of `answer`."""
    path = tmp_path / "squeue"
    path.write_text(
        f"#!/bin/sh\nif [ -e {tmp_path}/hang ]; then exec sleep 60; fi\ncat {tmp_path}/answer\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def test_a_hanging_slurm_command_counts_as_no_answer(squeue):
    (squeue / "hang").touch()
    answer = slurm_question.ask("squeue", limit_s=0.2)
    assert answer.code is None and answer.complaint == "no answer of squeue within 0 s"


def test_a_slurm_question_is_repeated_until_it_is_answered(squeue, monkeypatch):
    monkeypatch.setattr("cmpi._core.slurm.patience.ANSWER_S", 0.1)
    monkeypatch.setattr("cmpi._core.slurm.patience.POLL_S", 0.05)
    said = []
    (squeue / "hang").touch()
    (squeue / "answer").write_text("7 PENDING\n" * 20_000)  # more than a pipe holds
    inquiry = slurm_question.Inquiry(said.append, "squeue", understood=lambda answer: answer.code == 0)
    while not inquiry.silent:
        assert inquiry.answer() is None
        time.sleep(0.01)
    (squeue / "hang").unlink()
    while (answer := inquiry.answer()) is None:
        time.sleep(0.01)
    inquiry.close()
    assert answer.out == "7 PENDING\n" * 20_000
    assert ["does not answer" in text for text in said] == [True, False] and "again" in said[1]


def test_the_lack_of_slurm_is_reported():
    with pytest.raises(LaunchError, match="no no-such-command on PATH"):
        slurm_question.ask("no-such-command")


def test_all_waits_for_batch_jobs_share_one_command(squeue, monkeypatch):
    monkeypatch.setattr("cmpi._runtime.slurm_poller.POLL_S", 1000.0)
    (squeue / "squeue").write_text(f'#!/bin/sh\necho "$*" >> {squeue}/asked\ncat {squeue}/answer\n')
    (squeue / "answer").write_text("1|RUNNING|None|n1\n2_0|FAILED|None|n1\n2_1|PENDING|Priority|\n")
    poller = slurm_poller.SlurmPoller()
    jobs = ["1", "2_0", "2_1", "3"]
    for job in jobs:
        poller.wait_for(job)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(poller.state, jobs * 5))
    assert [poller.state(job).name for job in jobs] == ["RUNNING", "FAILED", "PENDING", "UNKNOWN"]
    (asked,) = (squeue / "asked").read_text().splitlines()
    assert asked.endswith("--jobs 1,2,3")
    poller.forget("1")
    assert poller.state("1") is None
