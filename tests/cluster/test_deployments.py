"""A program that is deployed into a job on several hosts."""

import signal
import subprocess

from tests.cluster.conftest import until
from tests.mpi.test_deployments import arguments
from tests.mpi.test_guests import read_until

PROGRAM = """\
import os
from mpi4py import MPI
import cmpi

def where(parent):
    return os.uname().nodename

if __name__ == "__main__":
    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank)
    print(world.rank, os.uname().nodename, total, cmpi.world()[world.rank] == cmpi.pid(), flush=True)
    if world.rank == 0:
        child = cmpi.spawn(where, result=True, resources=cmpi.Resources(host="h2"))
        print("spawned on", cmpi.result(child), flush=True)
"""


def test_a_deployments_ranks_and_spawned_processes_run_on_all_hosts_of_the_job(on_hosts, jobs):
    name, script = "lab-of-hosts", jobs.script(PROGRAM)
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", name, "--output", "plain")
    spread = on_hosts.run(*there, "-n", "4", "python", script, timeout=60)
    lines = sorted(spread.out.splitlines())
    assert lines == ["0 h1 6 True", "1 h1 6 True", "2 h2 6 True", "3 h2 6 True", "spawned on h2"], spread
    failed = on_hosts.run(*there, "-n", "3", "sh", "-c", "exit 5", timeout=60)
    assert spread.code == 0 and failed.code == 5, (spread, failed)
    stopped = on_hosts.run("--stop", name)
    assert stopped.code == 0 and job.wait(60) == 128 + signal.SIGTERM


WAITS = """\
import os, sys, time
print("up on", os.uname().nodename, flush=True)
if "stay" in sys.argv:
    time.sleep(600)
"""


def test_losing_a_host_ends_its_deployments_and_the_host_can_come_back(on_hosts, jobs):
    name, script = "lab-that-loses", jobs.script(WAITS, "waits.py")
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", name, "--output", "plain")
    here = on_hosts.start(*there, "python", script, "stay")
    assert here.stdout.readline() == b"up on h1\n"
    both = on_hosts.start(*there, "-n", "4", "python", script, "stay")
    assert sorted(both.stdout.readline() for _ in range(4)) == [b"up on h1\n"] * 2 + [b"up on h2\n"] * 2
    on_hosts.hosts.power_off("h2")
    _, err = both.communicate(timeout=60)
    assert both.returncode == 137 and b"host lost: h2" in err, err
    on_hosts.hosts.restore("h2")
    read_until(job.stderr, "host h2 is back")
    again = on_hosts.run(*there, "-n", "4", "python", script, timeout=60)
    assert again.code == 0 and sorted(again.out.split()[2::3]) == ["h1", "h1", "h2", "h2"], again
    assert here.poll() is None, "it was not on the host that was lost"
    stopped = on_hosts.run("--stop", name)
    assert stopped.code == 0 and job.wait(60) == here.wait(60) == 128 + signal.SIGTERM


SHIPPED = """\
import os, sys
from mpi4py import MPI
import cmpi, helper

def folder():
    return os.path.basename(os.getcwd())[:5]

def where(parent):
    import late  # not before it runs, on the host where it runs
    return os.uname().nodename, helper.VALUE, late.VALUE, folder(), open("data/file").read()

def spawn(host):
    child = cmpi.spawn(where, result=True, resources=cmpi.Resources(host=host))
    print(*cmpi.result(child), cmpi.wait(child), flush=True)

if __name__ == "__main__":
    world = MPI.COMM_WORLD
    print(world.rank, os.uname().nodename, helper.VALUE, folder(), flush=True)
    world.Barrier()
    for word in sys.argv[1:] if world.rank == 0 else ():
        print("typed", sys.stdin.readline().strip(), flush=True) if word == "wait" else spawn(word)
"""
FILES = {"job__py": SHIPPED, "helper__py": "VALUE = 7", "late__py": "VALUE = 8", "data/file": "text"}


def copies(on_hosts, *hosts):
    """The copies of programs on these hosts."""
    listing = "ls -d /tmp/cmpi-*/ship-* 2>/dev/null; true"
    return [line for host in hosts for line in on_hosts.hosts.call(host, "sh", "-c", listing).split()]


def test_a_program_that_other_hosts_of_the_job_lack_is_sent_to_them_until_it_ends(on_hosts, jobs):
    on_hosts.only_on_h1("/tmp/mine", **FILES)
    name = "lab-that-gets-programs"
    job = on_hosts.start("--host", "h1:1,h2:1,h3:1", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", name, "--output", "plain")
    ran = on_hosts.run(*there, "-n", "3", "python", "job.py", "h1", "h2", "h3", cwd="/tmp/mine", timeout=60)
    lines = ran.out.splitlines()
    assert ran.code == 0 and sorted(lines[:3]) == ["0 h1 7 mine", "1 h1 7 mine", "2 h2 7 ship-"], ran
    assert lines[3:] == ["h1 7 8 mine text 0", "h2 7 8 ship- text 0", "h3 7 8 ship- text 0"], ran
    until(lambda: not copies(on_hosts, "h1", "h2", "h3"))
    # --ship: to hosts that may have it; an argument is a file of it, and the program is none.
    argument = ("-n", "3", "--ship", "/tmp/mine", "sh", "-c", 'cat "$0"; basename $(pwd) | cut -c 1-5')
    named = on_hosts.run(*there, *argument, "mine/data/file", cwd="/tmp", timeout=60)
    assert named.code == 0 and sorted(named.out.split()) == ["textship-", "texttmp", "texttmp"], named
    detached = on_hosts.run(*there, "-n", "3", "--detach", "python", "job.py", "h2", cwd="/tmp/mine")
    shown = on_hosts.run("--attach", detached.out.strip(), timeout=60)
    assert shown.code == 0 and "h2 7 8 ship- text 0\n" in shown.out and "2 h2 7 ship-" in shown.out, shown
    killed = on_hosts.start(*there, "python", "job.py", "wait", cwd="/tmp/mine")
    assert killed.stdout.readline() == b"0 h1 7 mine\n"
    assert len(copies(on_hosts, "h2", "h3")) == 4, "those of this program, and of the one that was detached"
    for process in jobs.processes():
        words = arguments(process)
        if name in words and "wait" in words and "nsenter" not in words[0]:
            process.kill()
    until(lambda: len(copies(on_hosts, "h2", "h3")) == 2)
    missing = on_hosts.run(*there, "--ship", "nowhere", "true", cwd="/tmp/mine")
    assert missing.code == 2 and "nowhere: no such folder" in missing.err, missing
    assert on_hosts.run("--stop", name).code == 0 and job.wait(60) == 128 + signal.SIGTERM
    assert not copies(on_hosts, "h1", "h2", "h3")


def test_a_host_that_comes_back_gets_the_programs_that_are_deployed(on_hosts, jobs):
    on_hosts.only_on_h1("/tmp/mine", **FILES)
    name = "lab-that-gets-programs-again"
    job = on_hosts.start("--host", "h1:2,h2:2", "--serve", "--name", name)
    read_until(job.stdout, f"the job {name} is up")
    command = ("--in", name, "--output", "plain", "python", "job.py", "h2", "wait", "h2")
    stays = on_hosts.start(*command, cwd="/tmp/mine", stdin=subprocess.PIPE)
    assert stays.stdout.readline() == b"0 h1 7 mine\n"
    assert stays.stdout.readline() == b"h2 7 8 ship- text 0\n"
    on_hosts.hosts.power_off("h2")
    read_until(job.stderr, "host h2 is lost")
    on_hosts.hosts.restore("h2")
    read_until(job.stderr, "host h2 is back")
    out, err = stays.communicate(b"go\n", timeout=60)
    assert (out, stays.returncode) == (b"typed go\nh2 7 8 ship- text 0\n", 0), (out, err)
    assert on_hosts.run("--stop", name).code == 0 and job.wait(60) == 128 + signal.SIGTERM


def test_a_program_from_another_machine_is_sent_to_all_hosts_of_the_job(on_hosts, jobs):
    on_hosts.only_on_h1("/tmp/mine", **FILES)
    name = "lab-far-away"
    command = on_hosts.hosts.command(
        "h2", "cmpirun", "--host", "h2:1,h3:1", "--serve", "--name", name, cwd=jobs.folder
    )
    job = jobs.start(*command)
    read_until(job.stdout, f"the job {name} is up")
    there = ("--in", f"h2:{name}", "--output", "plain", "-n", "3")
    ran = on_hosts.run(*there, "python", "job.py", "h3", cwd="/tmp/mine", timeout=60)
    lines = ["0 h2 7 ship-", "1 h2 7 ship-", "2 h3 7 ship-", "h3 7 8 ship- text 0"]
    assert ran.code == 0 and sorted(ran.out.splitlines()) == lines, ran
    named = on_hosts.run(*there, "--ship", "data", "cat", "data/file", cwd="/tmp/mine", timeout=60)
    assert named.code == 0 and named.out.split() == ["text"] * 3, named
    assert on_hosts.run("--stop", f"h2:{name}").code == 0 and job.wait(60) == 128 + signal.SIGTERM


def test_programs_can_be_deployed_into_a_standing_slurm_job_through_ssh(slurm_on_hosts, on_hosts, jobs):
    name, script = "lab-in-slurm", jobs.script(PROGRAM)
    options = ("--slurm", "-N", "2", "-n", "4", "--time", "2:00")
    job = on_hosts.start(*options, "--serve", "--name", name)
    where = read_until(job.stdout, rf"the job (\w+:{name}) is up")[1]
    ran = on_hosts.run("--in", where, "--output", "plain", "-n", "4", "python", script, timeout=60)
    assert ran.code == 0 and len(ran.out.splitlines()) == 5, ran
    assert {each.split()[1] for each in ran.out.splitlines()[:4]} == {"h1", "h2"}, ran
    assert on_hosts.run("--stop", where).code == 0
    _, err = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, err
