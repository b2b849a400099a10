"""Ends that nobody planned: signals to cmpirun, and the death of each part of a job."""

import os
import signal
import subprocess
import time

import pytest

from tests.mpi.conftest import mpi_kind

BUSY = """
import cmpi, subprocess, time
def child(parent):
    subprocess.Popen(["sleep", "300"])
    time.sleep(300)
for _ in range(2): cmpi.spawn(child)
subprocess.Popen(["sleep", "300"])
print("ready", flush=True)
time.sleep(300)
"""


def busy(jobs, n=2):
    job = jobs.start("cmpirun", "--output", "plain", "-n", str(n), "python", jobs.script(BUSY))
    seen = b""
    while seen.count(b"ready") < n:
        piece = os.read(job.stdout.fileno(), 100)
        assert piece, job.communicate()
        seen += piece
    time.sleep(0.2)
    return job


def part(jobs, job, which):
    if which == "cmpirun":
        return job.pid
    for process in jobs.processes():
        line = " ".join(process.cmdline())
        if which == "mpiexec" and process.ppid() == job.pid:
            return process.pid
        if which in line and "mpiexec" not in line and "prterun" not in line and "hydra" not in line:
            return process.pid
    raise AssertionError(f"no {which}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_within_three_seconds(jobs, number):
    job = busy(jobs)
    started = time.monotonic()
    os.kill(job.pid, number)
    job.communicate(timeout=30)
    assert job.returncode == 128 + number
    assert not jobs.leftovers()
    assert time.monotonic() - started < 3 * float(os.environ.get("CMPI_TEST_SLOWNESS", "1"))


def test_processes_that_ignore_sigterm_are_killed(jobs):
    script = jobs.script(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(99)"
    )
    job = jobs.start("cmpirun", "--output", "plain", "python", script)
    os.read(job.stdout.fileno(), 10)
    os.kill(job.pid, signal.SIGINT)
    job.communicate(timeout=30)
    assert job.returncode == 130


def test_a_second_ctrl_c_ends_at_once(jobs):
    job = busy(jobs)
    os.kill(job.pid, signal.SIGINT)
    os.kill(job.pid, signal.SIGINT)
    job.communicate(timeout=30)
    assert job.returncode == 130


def test_ctrl_c_before_anything_runs(jobs):
    for delay in (0.02, 0.05, 0.08, 0.12):
        job = jobs.start("cmpirun", "-n", "2", "sleep", "300")
        time.sleep(delay)
        os.kill(job.pid, signal.SIGINT)
        _, err = job.communicate(timeout=30)
        # 1: the signal came before there was any code of ours, while Python imported `site`.
        assert job.returncode in (130, -2) or (job.returncode == 1 and b"KeyboardInterrupt" in err), delay


@pytest.mark.parametrize("which", ["cmpirun", "mpiexec", "root/main.py"])
def test_kill_9_of_any_part_leaves_nothing(jobs, which):
    job = busy(jobs)
    os.kill(part(jobs, job, which), signal.SIGKILL)
    _, err = job.communicate(timeout=30)
    assert job.returncode != 0
    if which != "cmpirun":
        assert b"has died" in err or b"has ended" in err or b"could not" in err, err


def test_the_job_ends_when_its_last_process_has_ended_not_before(job):
    text = """
import cmpi, time
def late(parent): time.sleep(0.5); print("late")
cmpi.spawn(late)
print("main is done")
"""
    result = job(text)
    assert (result.code, result.out) == (0, "main is done\nlate\n"), result


def test_empty_folders_of_an_open_mpi_that_lost_its_launcher_are_removed(jobs, tmp_path):
    top = tmp_path / f"ompi.{os.uname().nodename}.{os.geteuid()}"
    (top / "jf.0" / "123").mkdir(parents=True)
    environment = {"TMPDIR": str(tmp_path)}
    if mpi_kind() == "openmpi":
        alone = (
            f"from mpi4py import MPI; import os; print(os.path.exists({str(top)!r}), flush=True); input()"
        )
        no_segment = environment | {"OMPI_MCA_btl": "self"}  # it would stay in /dev/shm
        singleton = jobs.start("python", "-c", alone, env=no_segment, stdin=subprocess.PIPE)
        assert singleton.stdout.readline() == b"True\n"
        assert jobs.run("cmpirun", "--output", "plain", "hostname", env=environment).code == 0
        assert top.exists()
        singleton.communicate(b"\n")
    only_imports = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(1); input()"
    idle = jobs.start("python", "-uc", only_imports, env=environment, stdin=subprocess.PIPE)
    assert idle.stdout.readline() == b"1\n"
    assert jobs.run("cmpirun", "--output", "plain", "hostname", env=environment).code == 0
    idle.communicate(b"\n")
    assert not top.exists()
