"""Guests that start a job in a real Slurm, and jobs there that are reached by srun."""

import os
import signal

import pytest

from tests.cluster.conftest import until
from tests.mpi.test_deployments import arguments
from tests.mpi.test_guests import read_until

NO_SSH = "ssh -p 1"  # nobody listens there
START = """
import os, sys, time
import cmpi

def where(parent):
    print("spawned on", os.uname().nodename, flush=True)
    with cmpi.Sender(parent) as sender:
        sender.send((os.uname().nodename, cmpi.Receiver(parent).recv(timeout=60)))

def waits(parent):
    print("spawned", os.getpid(), flush=True)
    cmpi.Receiver(parent).recv()

with cmpi.Job(slurm=dict(nodes=2, tasks=4, time="5:00"), ssh=sys.argv[1]) as job:
    if len(sys.argv) > 2:
        print("job", job.name, flush=True)
        cmpi.wait(cmpi.spawn(waits, resources=cmpi.Resources(host="h1")))
    for host in ("h1", "h2"):
        child = cmpi.spawn(where, resources=cmpi.Resources(host=host))
        cmpi.Sender(child).send(7)
        there, x = cmpi.Receiver(child).recv(timeout=60)
        # In one write, since the job's output may come between the parts of a print.
        sys.stdout.write(f"{there} {x} {cmpi.wait(child).ok}\\n")
print("left")
"""


def start(on_hosts, jobs, host, *words):
    script = jobs.script(START)
    return jobs.start(*on_hosts.hosts.command(host, "python", script, *words, cwd=jobs.folder))


def processes_on(on_hosts, jobs, host):
    """The test's processes on a host: the guest, the cmpiruns behind it, their ssh or srun."""
    its = on_hosts.hosts.call(host, "readlink", "/proc/self/ns/net").strip()
    return [it for it in jobs.processes() if os.readlink(f"/proc/{it.pid}/ns/net") == its]


def queue(slurm):
    return slurm.call("squeue", "--noheader", "--format=%i %T %r").split()


@pytest.mark.parametrize(("host", "ssh"), [("h3", "ssh"), ("h3", NO_SSH), ("h1", NO_SSH)])
def test_a_guest_starts_a_job_in_slurm_which_ends_with_it(slurm_on_hosts, on_hosts, jobs, host, ssh):
    guest = start(on_hosts, jobs, host, ssh)
    out, err = guest.communicate(timeout=90)
    lines, err = out.decode().splitlines(), err.decode()
    assert guest.returncode == 0 and "Traceback" not in err, (lines, err)
    spawned = ["spawned on h1", "spawned on h2"]
    assert [it for it in lines if it not in spawned] == ["h1 7 True", "h2 7 True", "left"], (lines, err)
    assert sorted(it for it in lines if it in spawned) == spawned, (lines, err)
    assert "submitted" in err and "runs on h[1-2]" in err, err
    assert not queue(slurm_on_hosts)


def test_while_the_job_waits_slurms_reason_is_shown_and_ctrl_c_takes_it_back(
    slurm_on_hosts, on_hosts, jobs
):
    with slurm_on_hosts.drained("h2", "h3"):
        guest = start(on_hosts, jobs, "h1", "ssh")
        read_until(guest.stderr, r"pending \((?!not yet)\w+")
        for process in processes_on(on_hosts, jobs, "h1"):
            if arguments(process)[:1] == ["python"]:
                process.send_signal(signal.SIGINT)
        out, err = guest.communicate(timeout=60)
        assert guest.returncode != 0 and b"KeyboardInterrupt" in err and not out, (out, err)
        assert not queue(slurm_on_hosts)


@pytest.mark.parametrize("alone", [True, False], ids=["the guest", "all that is beside it, too"])
def test_a_guest_that_is_killed_leaves_no_job_in_slurm(slurm_on_hosts, on_hosts, jobs, alone):
    guest = start(on_hosts, jobs, "h3", "ssh", "waits")
    pid = read_until(guest.stdout, r"spawned (\d+)").group(1)
    for process in processes_on(on_hosts, jobs, "h3"):
        if not alone or arguments(process)[-1] == "waits":
            process.kill()
    guest.wait(60)
    if not alone:  # nobody was left to remove the gateway's folder
        on_hosts.hosts.call("h3", "sh", "-c", "rm -r /tmp/cmpi-*")
    until(lambda: not queue(slurm_on_hosts), 60)
    until(lambda: not on_hosts.hosts.call("h1", "sh", "-c", f"ps -o pid= -p {pid}; true").strip())


def test_where_ssh_is_not_allowed_programs_and_guests_get_in_by_srun(slurm_on_hosts, on_hosts, jobs):
    options = ("--slurm", "-N", "2", "-n", "4", "--time", "5:00", "--serve", "--name", "lab-by-srun")
    job = on_hosts.start(*options)
    where = read_until(job.stdout, r"the job (\w+:lab-by-srun) is up")[1]
    by_srun = ("--ssh", NO_SSH, "--in", where, "--output", "plain")
    ran = on_hosts.run(*by_srun, "-n", "4", "hostname", timeout=60)
    assert ran.code == 0 and len(ran.out.split()) == 4 and set(ran.out.split()) == {"h1", "h2"}, ran
    ran = on_hosts.run(*by_srun, "sh", "-c", "read it; exit $it", input=b"7\n", timeout=60)
    assert ran.code == 7, ran
    script = jobs.script(f"""
import cmpi
with cmpi.Job.attach("{where}", ssh="{NO_SSH}"):
    print(cmpi.result(cmpi.spawn(lambda parent: 42, result=True)))
""")
    guest = jobs.run(*on_hosts.hosts.command("h3", "python", script, cwd=jobs.folder), timeout=60)
    assert guest.code == 0 and guest.out == "42\n", guest
    assert on_hosts.run("--ssh", NO_SSH, "--stop", where).code == 0
    _, err = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, err
    refused = on_hosts.run("--ssh", NO_SSH, "--stop", where)
    assert refused.code == 2 and "does not accept ssh connections" in refused.err, refused
