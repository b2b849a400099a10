"""Deployments without a terminal: `cmpirun --in NAME --detach`, `--attach` and `--stop NAME/NUMBER`."""

import os
import re
import signal

import pytest

from cmpi._runtime.linux import job_folders
from cmpi._runtime.output_log import FILE_BYTES, FILES
from tests.mpi.test_deployments import WAITS, lab, read_until  # noqa: F401
from tests.mpi.test_guests import wait_until


@pytest.fixture
def detach(jobs, lab):  # noqa: F811
    """Deploys a program without a terminal; returns the deployment's name."""

    def run(*arguments, **kwargs):
        result = jobs.run("cmpirun", "--in", lab, "--output", "plain", "--detach", *arguments, **kwargs)
        assert result.code == 0 and re.fullmatch(rf"{lab}/[0-9a-f]{{7}}\n", result.out), result
        return result.out.strip()

    return run


def listed(jobs, name):
    """The line of `cmpirun --jobs` about this deployment."""
    lines = jobs.run("cmpirun", "--jobs").out.splitlines()
    return "".join(line for line in lines if line.startswith(f"  {name.rpartition('/')[2]}"))


def test_a_detached_deployment_runs_on_and_shows_its_output_and_exit_code_later(jobs, detach):
    fifo = f"{jobs.folder}/go"
    os.mkfifo(fifo)
    script = jobs.script(f"""
import os, sys
print("begins in", os.getcwd(), sys.stdin.read())
open({fifo!r}).read()
print("warns", file=sys.stderr)
sys.exit(3)
""")  # fmt: skip
    name = detach("python", script)
    assert "(detached)" in listed(jobs, name)
    one, other = (jobs.start("cmpirun", "--attach", name) for _ in range(2))
    begins = f"begins in {jobs.folder} \n".encode()
    assert one.stdout.readline() == other.stdout.readline() == begins
    one.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=30)
    assert (one.returncode, out) == (130, b"") and b"goes on; to follow it again: cmpirun --attach" in err
    open(fifo, "w").close()
    out, err = other.communicate(timeout=30)
    assert other.returncode == 3 and out == b"" and err.startswith(b"warns\ncmpirun: rank 0 failed: "), err
    wait_until(lambda: not listed(jobs, name), "what was shown to its end is listed no more")
    nothing = jobs.run("cmpirun", "--attach", name)
    assert nothing.code == 1 and "has no deployment" in nothing.err
    ended = detach("true")
    wait_until(
        lambda: "(ended with exit code 0; its output has not been read)" in listed(jobs, ended),
        "it has ended",
    )
    assert jobs.run("cmpirun", "--attach", ended).code == 0


def test_ctrl_c_can_cancel_a_detached_deployment_and_stop_ends_only_the_named_one(jobs, lab, detach):  # noqa: F811
    waits = jobs.script(WAITS, "waits.py")
    one, other, third = (detach("-n", "2", "python", waits) for _ in range(3))
    attached = jobs.start("cmpirun", "--attach", one, "--on-interrupt", "cancel")
    for _ in range(3):
        read_until(attached.stdout, "up|spawned")
    attached.send_signal(signal.SIGINT)
    out, err = attached.communicate(timeout=30)
    assert attached.returncode == 130 and out.count(b"interrupted") == 2, (out, err)
    assert jobs.run("cmpirun", "--stop", other).code == 0
    assert "ended with exit code 143" in listed(jobs, other) and "(detached)" in listed(jobs, third)
    assert jobs.run("cmpirun", "--stop", other).code == 0, "it has ended already"
    terminal = jobs.start("cmpirun", "--in", lab, "--output", "plain", "-n", "2", "python", waits)
    read_until(terminal.stdout, "up")
    lines = jobs.run("cmpirun", "--jobs").out.splitlines()  # of all jobs of this user
    (number,) = [line.split()[0] for line in lines if line.endswith(f"python {waits}")]
    refused = jobs.run("cmpirun", "--attach", f"{lab}/{number}")
    assert refused.code == 1 and "runs on another terminal" in refused.err
    assert jobs.run("cmpirun", "--stop", f"{lab}/{number}").code == 0 and terminal.wait(30) == 143
    last = jobs.start("cmpirun", "--attach", third)
    read_until(last.stdout, "up|spawned")
    assert jobs.run("cmpirun", "--stop", lab).code == 0
    out, err = last.communicate(timeout=30)
    assert last.returncode == 143 and b"the job has been ended, and this program with it" in err, (out, err)


def test_unread_output_is_bounded_and_dropped_output_is_reported(jobs, lab, detach):  # noqa: F811
    (folder,) = job_folders.find(lab)
    lines = 3 * FILES * FILE_BYTES // 100
    name = detach("sh", "-c", f"yes {'x' * 99} | head -n {lines}; echo last")
    wait_until(lambda: "ended" in listed(jobs, name), "nobody reads, and it goes on all the same")
    kept = f"{folder}/output-{name.rpartition('/')[2]}"
    assert sum(entry.stat().st_size for entry in os.scandir(kept)) < (FILES + 3) * FILE_BYTES
    shown = jobs.run("cmpirun", "--attach", name)
    assert shown.code == 0 and re.match("cmpirun: about .* MiB of .* are no longer kept\n", shown.err)
    assert shown.out.endswith("x\nlast\n") and 2 * FILE_BYTES < len(shown.out) < 100 * lines
    wait_until(lambda: not os.path.exists(kept), "its files are removed")


def test_detach_is_refused_without_a_job_to_run_in(jobs):
    alone = jobs.run("cmpirun", "--detach", "true")
    assert alone.code == 2 and "add --slurm, or --in NAME" in alone.err
