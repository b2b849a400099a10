"""--add-slurm: a job that gets nodes of another allocation, and gives them back."""

import signal

import psutil

from tests.cluster.conftest import until
from tests.cluster.programs import PRELUDE, came_up

GROWS = (
    PRELUDE
    + """
import threading
def stays(parent):
    say_where(parent)
    time.sleep(100)
def until(ready):
    while not ready(): time.sleep(0.05)
before = cmpi.capacity().total.cpus
print("up", flush=True)
until(lambda: cmpi.capacity().total.cpus > before)
pid = cmpi.spawn(stays, resources=Resources(cpus=1, host="h3"))
print(Receiver[str](pid, name="where").recv(timeout=20), flush=True)
print(cmpi.wait(pid, timeout=30).verdict)
until(lambda: cmpi.capacity().total.cpus == before)
print("goes on", flush=True)
"""
)


def check(slurm, on_hosts, job, *options):
    grows = on_hosts.start("--add-slurm", "1", *options)
    assert job.stdout.readline() == b"h3\n"
    (cmpirun,) = psutil.Process(grows.pid).children()  # `grows` is the command that entered the host
    cmpirun.send_signal(signal.SIGINT)
    _, said = grows.communicate(timeout=30)
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert (out, job.returncode) == ("host lost: h3: it was taken out of the job\ngoes on\n", 0), out + err
    assert "host h3 has been added" in err and "host h3 is lost: it was taken out of the job" in err, err
    assert grows.returncode == 0 and b"gives 1 nodes" in said, said
    until(lambda: "cmpi-nodes" not in slurm.call("squeue", "-h", "-o", "%j"))


def test_a_job_on_hosts_gets_nodes_and_gives_them_back(slurm_on_hosts, on_hosts, jobs):
    job = on_hosts.start("--host", "h1:2,h2:2", "--output", "plain", "python", jobs.script(GROWS))
    came_up(job)
    check(slurm_on_hosts, on_hosts, job, "--slurm-args=--nodelist=h3", "--time", "2")


def test_a_batch_job_named_by_its_number_lends_its_nodes(slurm_on_hosts, on_hosts, jobs):
    options = ("--slurm", "-N", "2", "--time", "2", "--slurm-args=--nodelist=h1,h2", "--output", "plain")
    job = on_hosts.start(*options, "python", jobs.script(GROWS))
    came_up(job)
    number = slurm_on_hosts.call("squeue", "-h", "-o", "%i").strip()
    check(slurm_on_hosts, on_hosts, job, "--job", number, "--time", "2")


def test_adding_nodes_of_a_job_that_does_not_run_is_refused(slurm_on_hosts, on_hosts):
    result = on_hosts.run("--add-slurm", "2", "--job", "999999")
    assert result.code == 1 and "job 999999 is not running" in result.err, result
    result = on_hosts.run("--add-slurm", "2")
    assert result.code == 1 and "found no such job of yours here" in result.err, result
