"""A guest on one host of a job that has several, or on a machine that is no host of its job."""

import signal

import pytest

from tests.cluster.conftest import until
from tests.mpi.test_deployments import arguments
from tests.mpi.test_guests import read_until

GUEST = """\
import os
import cmpi

def where(parent):
    inbox = cmpi.Receiver(parent)
    cmpi.Sender(parent).send((os.uname().nodename, inbox.recv(timeout=20)))

if __name__ == "__main__":
    with cmpi.Job(host="h1:2,h2:2") as job:
        for host in ("h2", "h1"):
            child = cmpi.spawn(where, resources=cmpi.Resources(host=host))
            cmpi.Sender(child).send("from the guest")
            print(*cmpi.Receiver(child).recv(timeout=20))
            assert cmpi.wait(child).ok
"""


def test_a_guest_spawns_on_all_hosts_of_its_job(on_hosts, jobs):
    command = on_hosts.hosts.command("h1", "python", jobs.script(GUEST), cwd=jobs.folder)
    result = jobs.run(*command, timeout=60)
    assert result.out.splitlines() == ["h2 from the guest", "h1 from the guest"], result
    assert result.code == 0 and "Traceback" not in result.err, result


NAME = "lab-of-guests"
ELSEWHERE = f"""\
import os
import numpy
import cmpi

def where(parent, n):
    inbox = cmpi.Receiver(parent)
    with cmpi.Sender(parent) as sender:
        sender.send((os.uname().nodename, inbox.recv(timeout=60)))
        for i in range(n):
            sender.send(numpy.full(1 << 18, i))  # 2 MiB

def square(x):
    return x * x

if __name__ == "__main__":
    with cmpi.Job.attach("h1:{NAME}") as job:
        for host in ("h1", "h2"):
            child = cmpi.spawn(where, 8, resources=cmpi.Resources(host=host))
            cmpi.Sender(child).send(numpy.arange(500_000).sum())
            inbox = cmpi.Receiver(child)
            print(*inbox.recv(timeout=60), [int(it.sum()) >> 18 for it in inbox], cmpi.wait(child).ok)
        with cmpi.ProcessPool(2) as pool:
            print(list(pool.map(square, range(5))))
        cmpi.register("far")
        print(job.name, cmpi.capacity().total.cpus, cmpi.whereis("far") == cmpi.pid())
        sender = cmpi.Sender.to("sink")
        for i in range(8): sender.send(numpy.full(1 << 18, i))
    with cmpi.Job.attach("h1:{NAME}"):
        sleeper = cmpi.spawn(lambda parent: cmpi.Receiver(parent).recv())
        print("again", flush=True)
        print("lost:", cmpi.wait(sleeper))
"""


SINK = """\
import cmpi
cmpi.register("sink")
print("up", flush=True)
inbox = cmpi.Mailbox()
print("took", [int(inbox.recv(timeout=60).sum()) >> 18 for _ in range(8)], flush=True)
"""


@pytest.fixture
def lab(on_hosts, jobs):
    """A job on h1 and h2 without a program."""
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", NAME)
    read_until(job.stdout, f"the job {NAME} is up")
    yield job
    stopped = on_hosts.run("--stop", NAME)
    assert stopped.code == 0 and job.wait(60) == 128 + signal.SIGTERM, stopped


def left(on_hosts):
    """The folders of gateways on h3, and relays and spawned processes on the hosts of the job."""
    found = on_hosts.hosts.call("h3", "sh", "-c", "ls -d /tmp/cmpi-* 2>/dev/null; true").split()
    return found + [
        line
        for host in ("h1", "h3")
        for line in on_hosts.hosts.call(host, "ps", "-eo", "args").splitlines()
        if "relay_main" in line or "--relay" in line
    ]


def secrets(on_hosts, host):
    return on_hosts.hosts.call(host, "sh", "-c", "sha256sum < $(ls -d /tmp/cmpi-*/secret)")


def test_a_guest_on_another_machine_joins_through_ssh(lab, on_hosts, jobs):
    sink = on_hosts.start("--in", NAME, "--output", "plain", "python", jobs.script(SINK, "sink.py"))
    read_until(sink.stdout, "up")
    script = jobs.script(ELSEWHERE)
    guest = jobs.start(*on_hosts.hosts.command("h3", "python", script, cwd=jobs.folder))
    lines = [guest.stdout.readline().decode() for _ in range(5)]
    numbers = list(range(8))
    assert lines == [
        f"h1 124999750000 {numbers} True\n",
        f"h2 124999750000 {numbers} True\n",
        "[0, 1, 4, 9, 16]\n",
        f"h1:{NAME} 4.0 True\n",
        "again\n",
    ], (lines, guest.stderr.read().decode())
    out, err = sink.communicate(timeout=60)  # what it sent before it left has arrived
    assert out.decode() == f"took {numbers}\n", err
    assert secrets(on_hosts, "h1") != secrets(on_hosts, "h3")
    for process in jobs.processes():
        if arguments(process)[:1] == ["ssh"] and "relay_main" in arguments(process)[-1]:
            process.kill()
    out, err = guest.communicate(timeout=60)
    assert out.startswith(b"lost: 1: the job has ended") and guest.returncode == 0, (out, err)
    until(lambda: not left(on_hosts))


def test_a_killed_guest_on_another_machine_leaves_nothing(lab, on_hosts, jobs):
    script = jobs.script(f"""
import os, cmpi
def waits(parent):
    print("spawned", os.getpid(), flush=True)
    cmpi.Receiver(parent).recv()
cmpi.Job.attach("h1:{NAME}")
cmpi.wait(cmpi.spawn(waits, resources=cmpi.Resources(host="h1")))
""")  # fmt: skip
    guest = jobs.start(*on_hosts.hosts.command("h3", "python", script, cwd=jobs.folder))
    pid = read_until(lab.stdout, r"spawned (\d+)").group(1)
    for process in jobs.processes():
        words = arguments(process)
        if script in words and "nsenter" not in words[0]:
            process.kill()
    guest.wait(30)
    until(lambda: not left(on_hosts))
    until(lambda: not on_hosts.hosts.call("h1", "sh", "-c", f"ps -o pid= -p {pid}; true").strip())


def test_joining_an_unsuitable_job_on_another_machine_is_refused_with_the_reason(on_hosts, jobs):
    script = jobs.script("""
import cmpi, sys
try: cmpi.Job.attach(sys.argv[1])
except cmpi.LaunchError as error: print(error)
""")
    wrong = {"h1:nothing": "h1: no job of yours on this host", "h9:lab": "h9: there is no host"}
    for name, said in wrong.items():
        result = jobs.run(*on_hosts.hosts.command("h3", "python", script, name, cwd=jobs.folder))
        assert f"could not reach {name} (exit code 1)" in result.out and said in result.err, result
