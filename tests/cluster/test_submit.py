"""cmpi.slurm.submit on a real Slurm."""

import os
import subprocess
import sys

import pytest

from cmpi import slurm as cmpi_slurm
from cmpi.errors import LaunchError, UsageError
from tests.cluster.conftest import until


@pytest.fixture
def here(slurm, jobs, monkeypatch):
    """Put this process into the test's folder, where Slurm is."""
    monkeypatch.chdir(jobs.folder)
    for name, value in jobs.environment.items():
        monkeypatch.setenv(name, value)
    return jobs


def test_a_function_runs_as_a_batch_job_and_its_result_comes_back(here):
    factor = 7

    def work(x):
        import cmpi

        print("working", flush=True)
        pid = cmpi.spawn(lambda parent: cmpi.Sender(parent).send(x * factor))
        return cmpi.Receiver(pid).recv()

    job = cmpi_slurm.submit(work, 6, time="1:00")
    assert job.id.isdigit() and job.result(timeout=40) == 42
    assert job.stdout() == "working\n" and job.stderr() == ""
    assert job.result(timeout=1) == 42, "again"


def test_each_task_has_a_result_and_an_exception_comes_back_with_its_traceback(here):
    def rank():
        from mpi4py import MPI

        numbers = [int(os.environ[f"SLURM_{name}"]) for name in ("PROCID", "LOCALID", "NODEID")]
        return MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, numbers

    def fails():
        raise KeyError("no such column")

    job, bad = cmpi_slurm.submit(rank, tasks=2), cmpi_slurm.submit(fails)
    assert job.results(timeout=40) == [(0, 2, [0, 0, 0]), (1, 2, [1, 1, 0])]
    with pytest.raises(KeyError, match="no such column") as error:
        bad.result(timeout=40)
    if sys.version_info >= (3, 11):
        assert "in the batch job" in error.value.__notes__[0] and "in fails" in error.value.__notes__[0]


def test_a_job_without_a_result_says_how_it_ended(here):
    import asyncio
    import os

    dead = cmpi_slurm.submit(lambda: os._exit(5))
    slow = cmpi_slurm.submit(lambda: __import__("time").sleep(100))
    with pytest.raises(cmpi_slurm.BatchJobFailed, match="exit code 5") as failed:
        asyncio.run(_awaited(dead))
    assert failed.value.status == "FAILED"
    with pytest.raises(TimeoutError):
        slow.result(timeout=0.5)
    slow.cancel()
    with pytest.raises(cmpi_slurm.BatchJobFailed, match="CANCELLED"):
        slow.result(timeout=40)
    assert slow.status == "CANCELLED"


def test_an_array_has_a_job_for_each_element_and_another_waits_for_it(here):
    def add(x, y):
        if y == 3:
            raise ValueError("three")
        return x + y, os.environ["GREETING"], os.environ["SLURM_JOB_NAME"]

    setup = ["export GREETING='hello there'"]
    jobs = cmpi_slurm.map_array(add, [10, 20, 30], [1, 2, 3], name="adding", setup=setup, at_once=2)
    later = cmpi_slurm.submit(lambda: "ran", after=jobs[:2])
    never = cmpi_slurm.submit(lambda: "ran", after=jobs)
    assert [job.result(timeout=60) for job in jobs[:2]] == [(n, "hello there", "adding") for n in (11, 22)]
    with pytest.raises(ValueError, match="three"):
        jobs[2].result(timeout=40)
    assert later.result(timeout=40) == "ran"
    with pytest.raises(cmpi_slurm.BatchJobFailed, match="CANCELLED"):
        never.result(timeout=40)


def test_gpus_and_features_are_requested_and_unknown_options_refused(here):
    with pytest.raises(LaunchError, match=r"gres|GPU|configuration|Requested"):
        cmpi_slurm.submit(print, gpus_per_node=1)
    with pytest.raises(LaunchError, match="feature"):
        cmpi_slurm.submit(print, constraint="big")
    with pytest.raises(TypeError, match="unknown option 'memory'"):
        cmpi_slurm.map_array(print, [1], memory="1G")
    with pytest.raises(UsageError, match="at least 1 element"):
        cmpi_slurm.map_array(print, [])


def test_files_of_ended_jobs_are_deleted_and_those_that_are_needed_kept(here):
    folder = here.folder / ".cmpi"
    done = cmpi_slurm.submit(lambda: 7)
    assert done.result(timeout=40) == 7
    until(lambda: done.status == "COMPLETED")
    waiting = cmpi_slurm.submit(lambda: 8, slurm_args="--hold")
    (folder / "mine.txt").touch()
    out = here.run("cmpirun", "--clean")
    assert out.code == 0 and "of 1 jobs" in out.out, out
    left = {path.name for path in folder.iterdir()}
    assert "mine.txt" in left and not any(name.startswith(f"{done.id}.") for name in left), left
    subprocess.run(["scontrol", "release", waiting.id], check=True)
    assert waiting.result(timeout=40) == 8
    assert here.run("cmpirun", "--clean", "x").code == 1


async def _awaited(job):
    return await job


def test_a_refusal_by_slurm_is_quoted_and_leaves_nothing_behind(here):
    with pytest.raises(LaunchError, match="partition"):
        cmpi_slurm.submit(print, partition="nowhere")
    with pytest.raises(UsageError):
        cmpi_slurm.submit(print, tasks=0)
    assert not list((here.folder / ".cmpi").glob("call-*"))


def test_importing_cmpi_does_not_load_cmpi_slurm():
    text = "import sys, cmpi; print('cmpi.slurm' in sys.modules, cmpi.slurm.submit.__name__)"
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    assert out == "False submit\n"


def test_a_function_saves_its_state_ahead_of_the_limit_and_is_called_anew(here):
    def work():
        import signal
        import sys
        import time

        import cmpi

        def save(number, frame):
            with open("saved", "w") as file:
                file.write("half of it")
            sys.exit()

        if not cmpi.slurm.restarts():
            signal.signal(signal.SIGTERM, save)
            time.sleep(100)
        with open("saved") as file:
            return cmpi.slurm.restarts(), file.read()

    # A minute is the shortest limit; Slurm looks at it every half minute, and sends the signal early.
    job = cmpi_slurm.submit(work, time="1", requeue_before=25)
    assert job.result(timeout=120) == (1, "half of it")
