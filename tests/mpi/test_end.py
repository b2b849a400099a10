"""Unplanned ends: signals to cmpirun, and the death of each part of a job."""

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


def busy(jobs, n=2, options=()):
    job = jobs.start("cmpirun", "--output", "plain", *options, "-n", str(n), "python", jobs.script(BUSY))
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
def test_a_signal_ends_everything_long_before_the_grace_is_over(jobs, number):
    job = busy(jobs, options=("--grace", "3600"))
    os.kill(job.pid, number)
    job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert not jobs.leftovers()


CLEANING = """
import atexit, cmpi, os, signal, sys, time
def work(name):
    atexit.register(print, name, "at exit", flush=True)
    try:
        print("ready", flush=True)
        time.sleep(300)
    except KeyboardInterrupt:
        print(name, "interrupted", flush=True)
        raise
    finally:
        time.sleep(0.3 * cmpi.pid().value % 0.5)
        print(name, "cleaned up", flush=True)
def child(parent): work("child")
cmpi.spawn(child)
work("rank")
"""


def wait_for_ready(job, n):
    seen = b""
    while seen.count(b"ready") < n:
        piece = os.read(job.stdout.fileno(), 100)
        assert piece, job.communicate()
        seen += piece


def test_ctrl_c_is_a_keyboard_interrupt_everywhere_and_all_may_clean_up(jobs):
    job = jobs.start("cmpirun", "--output", "plain", "-n", "2", "python", jobs.script(CLEANING))
    wait_for_ready(job, 4)
    os.kill(job.pid, signal.SIGINT)
    out, err = job.communicate(timeout=60)
    lines = sorted(line for line in out.decode().splitlines() if line != "ready")
    words = "at exit", "cleaned up", "interrupted"
    assert lines == [f"{who} {what}" for who in ("child", "rank") for what in words for _ in range(2)], err
    assert job.returncode == 130 and b"failed" not in err, err


def test_sigterm_is_passed_on_and_leaves_time_for_handlers(jobs):
    text = CLEANING.replace("def work", "signal.signal(15, lambda *_: sys.exit(0))\ndef work")
    job = jobs.start("cmpirun", "--output", "plain", "python", jobs.script(text))
    wait_for_ready(job, 1)
    os.kill(job.pid, signal.SIGTERM)
    out, _ = job.communicate(timeout=60)
    assert out.decode().splitlines()[-2:] == ["rank cleaned up", "rank at exit"] and job.returncode == 143


STUBBORN = """
import signal, time
for number in (2, 15): signal.signal(number, lambda number, _: print("got", number, flush=True))
print("ready", flush=True)
while True: time.sleep(9)
"""


def test_a_process_that_ignores_all_signals_is_killed_after_the_grace_period(jobs):
    job = jobs.start("cmpirun", "--output", "plain", "--grace", "0.6", "python", jobs.script(STUBBORN))
    wait_for_ready(job, 1)
    os.kill(job.pid, signal.SIGINT)
    out, _ = job.communicate(timeout=60)
    assert (out, job.returncode) == (b"got 2\ngot 15\n", 130)


def test_a_second_ctrl_c_kills_and_does_not_wait_for_the_grace(jobs):
    job = jobs.start("cmpirun", "--output", "plain", "--grace", "900", "python", jobs.script(STUBBORN))
    wait_for_ready(job, 1)
    os.kill(job.pid, signal.SIGINT)
    assert job.stdout.readline() == b"got 2\n"
    os.kill(job.pid, signal.SIGINT)
    out, _ = job.communicate(timeout=60)
    assert (out, job.returncode) == (b"", 130)


def test_signals_ignored_at_the_start_stay_ignored(jobs):
    # nohup ignores SIGHUP, and a shell ignores SIGINT in background processes.
    script = jobs.script("print('ready', flush=True); input(); print('went on', flush=True)")
    start = f"trap '' HUP INT; exec cmpirun --output plain python {script}"
    job = jobs.start("sh", "-c", start, stdin=subprocess.PIPE)
    wait_for_ready(job, 1)
    os.kill(job.pid, signal.SIGHUP)
    os.kill(job.pid, signal.SIGINT)
    out, err = job.communicate(b"\n", timeout=60)
    assert (out, job.returncode) == (b"went on\n", 0), err


BACKGROUND = """
import cmpi
def works(parent):
    print("ready", flush=True); cmpi.Receiver(parent).recv(); print("child went on", flush=True)
children = [cmpi.spawn(works), cmpi.spawn(works, mpi=True)]
input()
for child in children: cmpi.Sender(child).send(0); assert cmpi.wait(child).ok
assert cmpi.wait(cmpi.spawn(lambda parent: print("another"))).ok  # in a slot that is used again
print("rank went on")
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_job_in_the_background_goes_on_when_its_terminal_is_signalled(jobs, number):
    """A terminal signals a whole process group. The shell ends; each process of the job goes on."""
    script = jobs.script(BACKGROUND)
    nohup = "nohup" if number == signal.SIGHUP else ""  # of SIGINT, `&` takes care
    start = f"exec 3<&0; {nohup} cmpirun --output plain python {script} <&3 & wait"
    shell = jobs.start("sh", "-c", start, stdin=subprocess.PIPE)
    wait_for_ready(shell, 2)
    os.killpg(shell.pid, number)
    shell.wait(60)
    out, err = shell.communicate(b"\n", timeout=60)
    assert out.decode().splitlines() == [*["child went on"] * 2, "another", "rank went on"], err


CLOSED = {
    "<&-": ("import sys; print(repr(sys.stdin.read()))", "''\n", ""),
    ">&-": ("import sys; print('to stderr', file=sys.stderr)", "", "to stderr\n"),
    "2>&-": ("print('to stdout')", "to stdout\n", ""),
    "<&- >&- 2>&-": ("print('to nobody')", "", ""),
}


@pytest.mark.parametrize("closed", CLOSED)
def test_standard_descriptors_closed_at_the_start_act_as_devnull(jobs, closed):
    text, out, err = CLOSED[closed]
    result = jobs.run("sh", "-c", f"exec cmpirun --output plain python {jobs.script(text)} {closed}")
    assert (result.code, result.out, result.err) == (0, out, err)


def test_ctrl_c_before_anything_runs_ends_the_job(jobs):
    for delay in (0.02, 0.05, 0.08, 0.12):
        job = jobs.start("cmpirun", "-n", "2", "sleep", "300")
        time.sleep(delay)
        os.kill(job.pid, signal.SIGINT)
        _, err = job.communicate(timeout=30)
        # 1: the signal came before any code of cmpi ran, while Python imported `site`.
        assert job.returncode in (130, -2) or (job.returncode == 1 and b"KeyboardInterrupt" in err), delay


@pytest.mark.parametrize("which", ["cmpirun", "mpiexec", "root/main.py"])
def test_sigkill_of_any_part_leaves_no_processes_or_files(jobs, which):
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
    environment, imports = {"TMPDIR": str(tmp_path)}, "from mpi4py import MPI"
    if mpi_kind() == "openmpi":
        alone = f"{imports}; import os; print(os.path.exists({str(top)!r}), flush=True); input()"
        no_segment = environment | {"OMPI_MCA_btl": "self"}  # it would remain in /dev/shm
        singleton = jobs.start("python", "-c", alone, env=no_segment, stdin=subprocess.PIPE)
        assert singleton.stdout.readline() == b"True\n"
        assert jobs.run("cmpirun", "--output", "plain", "hostname", env=environment).code == 0
        assert top.exists()
        singleton.communicate(b"\n")
    only_imports = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(1); input()"
    idle = jobs.start("python", "-uc", only_imports, env=environment, stdin=subprocess.PIPE)
    assert idle.stdout.readline() == b"1\n"
    # A process with another temporary folder, which any program of this user may have, must not matter.
    (tmp_path / "other").mkdir()
    elsewhere = {"TMPDIR": str(tmp_path / "other"), "OMPI_MCA_btl": "self"}
    apart = jobs.start(
        "python", "-uc", f"{imports}; print(1); input()", env=elsewhere, stdin=subprocess.PIPE
    )
    assert apart.stdout.readline() == b"1\n"
    assert jobs.run("cmpirun", "--output", "plain", "hostname", env=environment).code == 0
    assert not top.exists()
    apart.communicate(b"\n")
    idle.communicate(b"\n")


def test_operations_that_need_a_removed_job_folder_fail_with_the_reason(job):
    text = """
import cmpi, glob, os, shutil, time
from cmpi import spawn, wait
wait(spawn(lambda parent: None))
with open(f"/proc/{os.getppid()}/environ", "rb") as file:
    (folder,) = [e[9:] for e in file.read().split(b"\\0") if e.startswith(b"CMPI_JOB=")]
while os.path.exists(folder): shutil.rmtree(folder, ignore_errors=True)  # others make files
print(wait(spawn(lambda parent: None)).verdict.replace(folder.decode(), "FOLDER"))
print("goes on")
"""
    result = job(text)
    said = "could not be started: the folder of the job, FOLDER, has been removed"
    assert result.out.splitlines() == [said, "goes on"] and result.code == 0, result
