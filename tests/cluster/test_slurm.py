"""Batch jobs on a real Slurm: slurmctld, slurmd, munge."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from tests.cluster.conftest import LIMITS_MEMORY

PROGRAM = """
import os, sys, time
from mpi4py import MPI
import cmpi
print(f"rank {MPI.COMM_WORLD.rank} of {MPI.COMM_WORLD.size}", flush=True)
"""


def batch(jobs, *arguments, **kwargs):
    return jobs.run("cmpirun", "--slurm", "--output", "plain", *arguments, timeout=60, **kwargs)


def test_a_batch_job_shows_the_same_output_and_exit_code_as_a_local_job(slurm, jobs):
    script = jobs.script(
        PROGRAM
        + """
if MPI.COMM_WORLD.rank == 0:
    p = cmpi.spawn(lambda parent: cmpi.Sender(parent).send("spawned, and linked"))
    print(cmpi.Receiver(p).recv(), flush=True)
    print(cmpi.capacity().total.cpus, os.environ["SLURM_JOB_ID"].isdigit(), flush=True)
    print("a word on stderr", file=sys.stderr, flush=True)
MPI.COMM_WORLD.Barrier()
if MPI.COMM_WORLD.rank == 1: sys.exit(3)
"""
    )
    result = batch(jobs, "-n", "2", "--time", "2:00", "python", script)
    assert result.code == 3, result
    assert sorted(result.out.splitlines()) == [
        "2.0 True",
        "rank 0 of 2",
        "rank 1 of 2",
        "spawned, and linked",
    ], result
    for part in ("submitted (.cmpi/", "a word on stderr", "rank 1 failed: exit code 3"):
        assert part in result.err, result


def test_the_batch_script_is_shown_by_dry_run_and_kept(slurm, jobs):
    program = ("sh", "-c", "echo hi there")
    shown = batch(jobs, "--dry-run", "-n", "2", "--time", "1:00", "--slurm-args=--nice=7", *program)
    assert shown.code == 0 and not os.path.exists(jobs.folder / ".cmpi")
    assert "#SBATCH --ntasks=2\n" in shown.out and "#SBATCH --nice=7\n" in shown.out
    assert "-n 2 sh -c 'echo hi there'\n" in shown.out and "--slurm" not in shown.out.split("\n\n")[1]
    assert batch(jobs, "-n", "2", *program).out == "hi there\n" * 2
    (kept,) = (jobs.folder / ".cmpi").glob("*.sh")
    assert kept.read_text().startswith("#!/bin/bash\n")


def test_a_detached_job_is_found_again_from_another_shell(slurm, jobs):
    marker = jobs.folder / "go"
    script = jobs.script(f"""
import os, time
print("begins", flush=True)
while not os.path.exists({str(marker)!r}): time.sleep(0.05)
print("ends", flush=True)
""")
    detached = batch(jobs, "--detach", "python", script)
    job = detached.out.strip()
    assert job.isdigit() and detached.code == 0
    attached = jobs.start("cmpirun", "--attach", job)
    assert attached.stdout.readline() == b"begins\n"
    assert "RUNNING" in jobs.run("cmpirun", "--status", job).out
    attached.kill()  # the shell that followed it dies; the job does not
    attached.communicate()
    assert jobs.run("cmpirun", "--logs", job).out == "begins\n"
    marker.touch()
    again = jobs.run("cmpirun", "--attach", job)
    assert (again.code, again.out) == (0, "begins\nends\n"), again
    status = jobs.run("cmpirun", "--status")
    assert job in status.out and "COMPLETED" in status.out and "exit code 0" in status.out


def test_a_queued_job_shows_the_reason_and_can_be_cancelled(slurm, jobs):
    waiting = jobs.start("cmpirun", "--slurm", "--slurm-args=--begin=now+1hour", "python", "-c", "pass")
    lines = [waiting.stderr.readline().decode() for _ in range(2)]
    assert "submitted" in lines[0] and "pending (BeginTime), 0 before it in the queue" in lines[1], lines
    job = lines[0].split()[2]
    assert jobs.run("cmpirun", "--cancel", job).code == 0
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 143 and b"ended by Slurm (CANCELLED): it was cancelled" in err


def test_an_interrupted_follower_leaves_the_job_or_cancels_it(slurm, jobs):
    script = jobs.script("import time; print('begins', flush=True); time.sleep(60)")
    for wish, code, state in (("leave", 130, "RUNNING"), ("cancel", 143, "CANCELLED")):
        options = ("--slurm", "--output", "plain", "--on-interrupt", wish)
        follower = jobs.start("cmpirun", *options, "python", script)
        assert follower.stdout.readline() == b"begins\n"
        follower.send_signal(signal.SIGINT)
        _, err = follower.communicate(timeout=30)
        assert follower.returncode == code, err
        job = err.decode().split()[2]
        assert state in jobs.run("cmpirun", "--status", job).out
        jobs.run("cmpirun", "--cancel", job)
    end_s = time.monotonic() + 20
    while slurm.call("squeue", "-h") and time.monotonic() < end_s:
        time.sleep(0.2)


def test_a_time_limit_is_named(slurm, jobs):
    script = jobs.script("import time; print('begins', flush=True); time.sleep(300)")
    started = batch(jobs, "--detach", "--time", "1", "python", script)
    job = started.out.strip()
    end_s = time.monotonic() + 20
    while "RUNNING" not in slurm.call("scontrol", "show", "job", job) and time.monotonic() < end_s:
        time.sleep(0.1)
    # A minute is the shortest limit; here the administrator lets it expire now.
    slurm.call("scontrol", "update", f"jobid={job}", "timelimit=0:01", check=True)
    result = jobs.run("cmpirun", "--attach", job, timeout=100)
    assert result.code == 124, result
    assert "ended by Slurm (TIMEOUT): its time limit was reached; ask for more with --time" in result.err


def test_slurmctld_may_be_restarted_while_a_job_is_followed(slurm, jobs):
    marker = jobs.folder / "go"
    script = jobs.script(f"""
import os, time
print("begins", flush=True)
while not os.path.exists({str(marker)!r}): time.sleep(0.05)
""")
    follower = jobs.start("cmpirun", "--slurm", "--output", "plain", "python", script)
    assert follower.stdout.readline() == b"begins\n"
    slurm.restart_controller(pause_s=3)
    marker.touch()
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, err


def test_invalid_slurm_requests_are_refused_with_a_remedy(slurm, jobs):
    unknown = batch(jobs, "--partition", "nowhere", "hostname")
    assert unknown.code == 1 and "sbatch refused .cmpi/" in unknown.err and "partition" in unknown.err
    assert "Slurm knows no job 999999" in jobs.run("cmpirun", "--attach", "999999").err
    for arguments, words in (
        (("--slurm", "-N", "-2", "hostname"), "-N -2: expected a number of nodes, 1 or more"),
        (("--time", "1:00", "hostname"), "--time is for batch jobs; add --slurm"),
        (("--cancel", "7", "hostname"), "remove the program"),
    ):
        result = jobs.run("cmpirun", *arguments)
        assert result.code == 2 and words in result.err, result


def test_the_lack_of_slurm_is_named(jobs):
    path = os.path.dirname(jobs.environment["PATH"].split(":")[0]) + "/bin"
    result = jobs.run("cmpirun", "--slurm", "hostname", env={"PATH": path})
    assert result.code == 1 and "no sbatch on PATH: this is not a machine of a Slurm cluster" in result.err


def test_inside_an_allocation_plain_cmpirun_uses_what_was_granted(slurm, jobs):
    script = jobs.script(
        "import cmpi; c = cmpi.capacity().total; print(c.cpus, c.memory >> 20); "
        "print(cmpi.wait(cmpi.spawn(lambda parent: None)))"
    )
    grant = ("--wait", "-n1", "-c2", "--mem-per-cpu=200", "-o", "out.txt", "-e", "err.txt")
    command = ["sbatch", *grant, "--wrap", f"cmpirun --output plain python {script}"]
    subprocess.run(command, env=jobs.environment, cwd=jobs.folder, check=True, stdout=subprocess.DEVNULL)
    assert (jobs.folder / "out.txt").read_text() == "2.0 400\n0\n", (jobs.folder / "err.txt").read_text()


def test_the_example_of_a_batch_script_runs(slurm, jobs):
    root = pathlib.Path(__file__).parents[2]
    script = root / "examples" / "slurm" / "job.sbatch"
    out = jobs.folder / "out.txt"
    command = ["sbatch", "--wait", "--ntasks=2", "--output", str(out), str(script)]
    subprocess.run(command, env=jobs.environment, cwd=root, check=True, stdout=subprocess.DEVNULL)
    assert "hello from rank 1 of 2" in out.read_text()


def test_the_doctor_looks_at_the_partitions_and_may_submit_a_tiny_job(slurm, jobs):
    result = jobs.run("cmpirun", "--doctor", "--slurm", timeout=60)
    assert result.code == 0 and re.search(r"partition main\* +ok", result.out), result
    result = jobs.run("cmpirun", "--doctor", "--slurm", "--submit", timeout=90)
    assert result.code == 0 and "a batch job" in result.out, result


def test_a_script_has_its_own_options(slurm, jobs):
    text = """\
#!/usr/bin/env python3
#SBATCH --ntasks=2 --time 1:00 --comment='two words'
#SBATCH -J mine
import os
print(os.environ["SLURM_JOB_NAME"], os.environ["WORLD_SIZE"])
"""
    result = batch(jobs, "--job-name", "ours", "python", jobs.script(text))
    assert result.out == "ours 2\n" * 2 and result.code == 0, result
    wrong = jobs.script(text.replace("-J mine", "--qoz=long"))
    result = batch(jobs, "python", wrong)
    assert result.code == 1 and f"({wrong}:3: --qoz=long): sbatch: unrecognized option" in result.err, (
        result
    )


def test_a_job_knows_when_slurm_will_end_it_and_may_act_before(slurm, jobs):
    script = jobs.script(
        """
import threading, time
import cmpi
cmpi.init()
left = cmpi.deadline()
print(40 < left <= 60)
called = threading.Event()
cmpi.on_deadline(called.set, before=left - 1)
cmpi.on_deadline(lambda: print("too early", flush=True), before=5)
print(called.wait(0.3), called.wait(5), flush=True)
p = cmpi.spawn(lambda parent: cmpi.Sender(parent).send(cmpi.deadline()))
print(abs(cmpi.Receiver(p).recv() - cmpi.deadline()) < 5)
"""
    )
    result = batch(jobs, "--time", "1:00", "python", script)
    assert result.out == "True\nFalse True\nTrue\n" and result.code == 0, result
    script = jobs.script("import cmpi; cmpi.init(); cmpi.on_deadline(print); print(cmpi.deadline())")
    assert jobs.run("cmpirun", "--output", "plain", "python", script).out == "None\n"


def test_each_array_task_is_a_job_and_the_array_fails_with_the_first_failure(slurm, jobs):
    script = jobs.script(
        "import os, sys; n = int(os.environ['SLURM_ARRAY_TASK_ID']); print('task', n); sys.exit(n % 3)"
    )
    result = batch(jobs, "--array", "0-4%2", "--time", "1:00", "python", script)
    assert result.code == 1, result
    (job,) = {word.partition("_")[0] for word in result.err.split() if "_0" in word and word[0].isdigit()}
    for task, code in ((0, 0), (1, 1), (2, 2), (3, 0), (4, 1)):
        assert f"task {job}_{task} has ended: exit code {code} (.cmpi/{job}_{task}.out)" in result.err, (
            result
        )
        assert jobs.run("cmpirun", "--logs", f"{job}_{task}").out == f"task {task}\n"
    status = jobs.run("cmpirun", "--status", job).out.splitlines()
    assert len(status) == 5 and status[2].startswith(f"{job}_2") and "exit code 2" in status[2]


WAITS = """
import os, sys, time
print("begins", os.environ.get("SLURM_RESTART_COUNT", "0"), flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.05)
print("ends", flush=True)
"""


@pytest.mark.skipif(not LIMITS_MEMORY, reason="NOT TESTED: no cgroups of version 1 for Slurm here")
def test_a_job_that_runs_out_of_memory_is_reported_as_such(slurm, jobs):
    script = jobs.script("print('begins', flush=True); x = b'x' * (400 << 20); print('ends')")
    result = batch(jobs, "--mem-per-cpu", "200M", "--enforce", "none", "python", script)
    assert result.code == 137 and result.out == "begins\n", result
    assert "out of memory: the kernel killed it" in result.err or "(OUT_OF_MEMORY)" in result.err, result


def test_a_preempted_job_is_reported_as_such_or_starts_again(slurm, jobs):
    others = slurm.nodes[1:]
    for wish, ends in (((), (1, b"begins 0\n")), (("--requeue",), (0, b"begins 0\nbegins 1\nends\n"))):
        marker = jobs.folder / f"go{len(wish)}"
        command = ("python", jobs.script(WAITS), str(marker))
        options = ("--slurm", "--output", "plain", "--slurm-args=--exclusive", *wish)
        with slurm.drained(*others):
            follower = jobs.start("cmpirun", *options, *command)
            assert follower.stdout.readline() == b"begins 0\n"
            urgent = batch(jobs, "--partition", "urgent", "true")
        assert urgent.code == 0, urgent
        marker.touch()
        out, err = follower.communicate(timeout=90)
        assert (follower.returncode, b"begins 0\n" + out) == ends, err
        said = b"ended by Slurm (PREEMPTED): a job of higher priority took its place" in err
        assert said == (not wish), err


def test_a_drained_node_ends_nothing_and_the_next_job_shows_its_pending_reason(slurm, jobs):
    marker = jobs.folder / "go"
    command = ("python", jobs.script(WAITS), str(marker))
    follower = jobs.start("cmpirun", "--slurm", "--output", "plain", *command)
    assert follower.stdout.readline() == b"begins 0\n"
    with slurm.drained(*slurm.nodes):
        waiting = jobs.start("cmpirun", "--slurm", "--output", "plain", "hostname")
        lines = [waiting.stderr.readline().decode() for _ in range(2)]
        end_s = time.monotonic() + 20
        while "ReqNodeNotAvail" not in lines[-1] and "DRAINED" not in lines[-1]:
            assert time.monotonic() < end_s, lines
            lines.append(waiting.stderr.readline().decode())
        marker.touch()
        out, err = follower.communicate(timeout=40)
        assert (follower.returncode, out) == (0, b"ends\n"), err
        assert waiting.poll() is None  # until somebody resumes it
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and out.strip(), err


def test_a_failed_node_is_reported(slurm, jobs):
    command = ("python", jobs.script(WAITS), str(jobs.folder / "never"))
    follower = jobs.start("cmpirun", "--slurm", "--output", "plain", *command)
    assert follower.stdout.readline() == b"begins 0\n"
    job = follower.stderr.readline().decode().split()[2]
    (node,) = {n for n in slurm.nodes if f"NodeList={n}" in slurm.call("scontrol", "show", "job", job)}
    slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test", check=True)
    try:
        _, err = follower.communicate(timeout=60)
        assert follower.returncode == 1 and b"ended by Slurm (NODE_FAIL): a node failed" in err, err
    finally:  # the node may have resumed by itself
        slurm.call("scontrol", "update", f"nodename={node}", "state=resume")
        slurm.call("scancel", job)


def test_concurrent_batch_jobs_do_not_interfere(slurm, jobs):
    followers = []
    for i in range(2):
        command = ("python", jobs.script(WAITS, f"job{i}.py"), str(jobs.folder / f"go{i}"))
        followers.append(jobs.start("cmpirun", "--slurm", "--output", "plain", *command))
    for follower in followers:
        assert follower.stdout.readline() == b"begins 0\n"
    for i, follower in reversed(list(enumerate(followers))):
        (jobs.folder / f"go{i}").touch()
        out, err = follower.communicate(timeout=40)
        assert (follower.returncode, out) == (0, b"ends\n"), err
