"""A Slurm that does not answer, output that appears late, and jobs queried from another folder."""

import shutil

import pytest

from tests.cluster.conftest import until

STEPS = """
import os, sys, time
for step in ("begins", "goes on", "ends"):
    print(step, flush=True)
    while not os.path.exists(step.split()[0]): time.sleep(0.02)
sys.exit(3)
"""
COMMAND = """#!/bin/sh
touch {folder}/asked
while [ -e {folder}/hang ]; do sleep 0.1; done
if [ -e {folder}/down ]; then
    echo "slurm_load_jobs error: Unable to contact slurm controller" >&2
    exit 1
fi
exec {path} "$@"
"""


@pytest.fixture
def gate(jobs, tmp_path_factory):
    """A gate before Slurm's commands: they hang while a file `hang` exists, and fail while `down`
    exists."""
    folder = tmp_path_factory.mktemp("gate")
    for name in ("scontrol", "squeue"):
        (folder / name).write_text(COMMAND.format(folder=folder, path=shutil.which(name)))
        (folder / name).chmod(0o755)
    jobs.environment["PATH"] = f"{folder}:{jobs.environment['PATH']}"
    return folder


def test_a_silent_slurm_is_reported_once_and_the_job_is_followed(slurm, jobs, gate):
    follower = jobs.start("cmpirun", "--slurm", "--output", "plain", "python", jobs.script(STEPS))
    assert follower.stdout.readline() == b"begins\n"
    (gate / "hang").touch()
    (gate / "asked").unlink(missing_ok=True)
    until((gate / "asked").exists)
    (jobs.folder / "begins").touch()
    assert follower.stdout.readline() == b"goes on\n"  # while a question hangs
    (gate / "down").touch()
    (gate / "hang").unlink()
    (jobs.folder / "goes").touch()
    (jobs.folder / "ends").touch()
    out, err = follower.communicate(timeout=40)
    assert (follower.returncode, out) == (3, b"ends\n"), err
    assert err.count(b"Slurm does not answer (") == 1, err  # with what it said, or that it took too long
    assert b"knows no job" not in err


def test_the_follower_waits_for_late_output(slurm, jobs):
    script = jobs.script("print('first'); print('last'); raise SystemExit(3)")
    options = ("--slurm", "--output", "plain", "--detach")
    job = jobs.run("cmpirun", *options, "python", script).out.strip()
    files = jobs.folder / ".cmpi"
    until((files / f"{job}.code").exists)
    late = jobs.folder / "late"  # this machine's view of the shared folder
    (late / ".cmpi").mkdir(parents=True)
    (late / ".cmpi" / f"{job}.out").write_text("first\n")
    follower = jobs.start("cmpirun", "--attach", job, cwd=late)
    assert follower.stdout.readline() == b"first\n"
    for line in follower.stderr:
        if b"waiting for the last of its output" in line:
            break
    for end in ("code", "err", "out"):
        shutil.copy(files / f"{job}.{end}", late / ".cmpi")
    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out) == (3, b"last\n"), err


def test_a_folder_that_the_nodes_do_not_share_is_named(slurm_on_hosts, on_hosts):
    on_hosts.only_on_h1("/tmp/alone", job__py="print('never')")
    with slurm_on_hosts.drained("h1"):
        result = on_hosts.run("--slurm", "python", "job.py", cwd="/tmp/alone")
    assert result.code == 181 and result.out == "", result
    assert "h2 could not open or write its folder /tmp/alone. Submit it from a folder" in result.err


def test_jobs_are_found_from_any_folder_and_waiting_ones_are_listed(slurm, jobs):
    elsewhere = jobs.folder / "elsewhere"
    elsewhere.mkdir()

    def there(*arguments):
        return jobs.run("cmpirun", *arguments, cwd=elsewhere)

    held = jobs.run("cmpirun", "--slurm", "--detach", "--slurm-args=--hold", "hostname").out.strip()
    script = jobs.script(
        "import os, sys; print('written'); sys.exit(int(os.environ['SLURM_ARRAY_TASK_ID']))"
    )
    options = ("--slurm", "--detach", "--array", "0-2", "--output", "plain")
    array = jobs.run("cmpirun", *options, "python", script).out.strip()
    assert f"{held}  PENDING  JobHeldUser" in jobs.run("cmpirun", "--status").out.splitlines()
    followed = there("--attach", array)
    assert followed.code == 1, followed
    assert f"task {array}_2 has ended: exit code 2" in followed.err
    assert there("--logs", f"{array}_1").out == "written\n"
    status = there("--status")
    assert f"{held}  PENDING  JobHeldUser  {jobs.folder}" in status.out.splitlines(), status
    assert f"{array}_2  FAILED" in status.out and "exit code 2" in status.out, status
    assert jobs.run("cmpirun", "--status", held).out == f"{held}  PENDING  JobHeldUser\n"
    shutil.rmtree(jobs.folder / "state")  # no note of the job is left: only Slurm knows its folder
    assert there("--attach", f"{array}_1").out == "written\n"
