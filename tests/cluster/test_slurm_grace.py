"""Slurm ends a job by sending SIGTERM to everything in it, and the program still gets its grace period."""

import subprocess

import psutil

from tests.cluster.conftest import until

CLEANS_UP = """
import os, signal, sys, time, cmpi

def work(parent, name):
    def terminated(number, frame):
        print(name, "got", signal.Signals(number).name, flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, terminated)
    if parent:
        cmpi.Sender(parent).send(True)
    try:
        time.sleep(100)
    finally:
        time.sleep(1)
        print(name, "cleaned up", flush=True)

if __name__ == "__main__":
    cmpi.init()
    name = "rank " + os.environ["RANK"]
    child = cmpi.spawn(work, "child of " + name)
    cmpi.Receiver(child).recv()
    print(name, "begins", flush=True)
    work(None, name)
"""
NAMES = [f"{who}rank {rank}" for rank in range(2) for who in ("", "child of ")]


def check(out):
    """Check that each process got the signal once, and ended when it chose to."""
    lines = sorted(out.splitlines())
    expected = [f"rank {rank} begins" for rank in range(2)]
    expected += [f"{name} {what}" for name in NAMES for what in ("got SIGTERM", "cleaned up")]
    assert lines == sorted(expected), out


def begun(path):
    return path.exists() and path.read_text().count("begins") == 2


def test_a_cancelled_job_gets_its_grace_period(slurm, jobs):
    options = ("--slurm", "--detach", "--output", "plain", "-n", "2")
    job = jobs.run("cmpirun", *options, "python", jobs.script(CLEANS_UP)).out.strip()
    until(lambda: begun(jobs.folder / ".cmpi" / f"{job}.out"))
    assert jobs.run("cmpirun", "--cancel", job).code == 0
    result = jobs.run("cmpirun", "--attach", job, timeout=60)
    assert result.code == 143, result
    check(result.out)
    assert "ended by Slurm (CANCELLED): it was cancelled" in result.err
    assert "PMI" not in result.err and "mpiexec" not in result.err, result.err


def test_a_batch_script_that_execs_cmpirun_gets_its_grace_period(slurm, jobs):
    script, out, err = jobs.script(CLEANS_UP), jobs.folder / "out.txt", jobs.folder / "err.txt"
    command = f"exec cmpirun --output plain -n 2 python {script}"
    submit = ["sbatch", "--parsable", "-n2", "-o", str(out), "-e", str(err), "--wrap", command]
    job = subprocess.check_output(submit, env=jobs.environment, cwd=jobs.folder, text=True).strip()
    until(lambda: begun(out))
    slurm.call("scancel", job, check=True)
    until(lambda: not slurm.call("squeue", "-h", "-j", job).strip())
    check(out.read_text())


def is_cmpirun(process, jobs):
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(word.endswith("/cmpirun") for word in words[:2]) and any(
        str(jobs.folder) in w for w in words
    )


def test_a_sigterm_to_cmpirun_alone_reaches_every_process_once(slurm, jobs):
    options = ("--slurm", "--output", "plain", "-n", "2")
    follower = jobs.start("cmpirun", *options, "python", jobs.script(CLEANS_UP))
    text = "".join(follower.stdout.readline().decode() for _ in range(2))
    (cmpirun,) = (p for p in psutil.process_iter() if is_cmpirun(p, jobs) and p.pid != follower.pid)
    cmpirun.terminate()
    out, err = follower.communicate(timeout=60)
    check(text + out.decode())
    assert follower.returncode == 143, err


def test_a_job_on_several_nodes_gets_its_grace_period_on_each(slurm_on_hosts, on_hosts, jobs):
    options = ("--slurm", "--output", "plain", "-N", "2", "-n", "2", "--slurm-args=--cpus-per-task=2")
    follower = on_hosts.start(*options, "python", jobs.script(CLEANS_UP))
    text = "".join(follower.stdout.readline().decode() for _ in range(2))
    slurm_on_hosts.call("scancel", "--user=root", check=True)
    out, err = follower.communicate(timeout=60)
    print(err.decode())
    assert follower.returncode == 143, err
    check(text + out.decode())
