"""What the deployments of one job share, and what they do not."""

import os
import signal
import subprocess

import pytest

from cmpi._runtime.linux import job_folders
from tests.mpi.test_deployments import cmpi_program, deployed, gone, lab  # noqa: F401
from tests.mpi.test_guests import read_until, wait_until

# Ranks that ask for more processes than there is room for. They print "queued" once the root knows all.
ASKS = """
import asyncio, os, sys, time
from mpi4py import MPI
import cmpi

CORE = cmpi.Resources(cpus=1)
world = MPI.COMM_WORLD
letter, n = sys.argv[1], int(sys.argv[2])
ALL = 35

def hold(parent):
    while not os.path.exists("go"): time.sleep(0.01)

def note(parent, letter):
    with open("log", "a") as log:
        log.write(letter)
        log.flush()
        written = log.tell()
    # Two run at a time, and none ends before the next has written: they write in the order of their turns.
    while os.path.getsize("log") <= written < ALL: time.sleep(0.01)

async def ask():
    asked = [asyncio.ensure_future(cmpi.aspawn(note, letter, resources=CORE)) for _ in range(n)]
    await asyncio.sleep(0)
    cmpi.capacity()
    world.Barrier()
    if world.rank == 0: print("queued", flush=True)
    for child in await asyncio.gather(*asked): await cmpi.await_exit(child)

if "hold" in sys.argv and world.rank == 0:
    for _ in range(2): cmpi.spawn(hold, resources=CORE)
world.Barrier()
asyncio.run(ask())
"""


@pytest.fixture
def two_cores(jobs):
    """Start a job without a program that has two cores; yield the beginning of a command that deploys."""
    name = f"two-cores-{os.getpid()}"
    process = jobs.start("cmpirun", "--serve", "--name", name, "--cpus", "2")
    read_until(process.stdout, rf"the job {name} is up")
    yield ("cmpirun", "--in", name, "--output", "plain")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize("bound", [(), ("--cpus", "1")], ids=["unbound", "bound"])
def test_a_greedy_deployment_leaves_another_its_share(jobs, two_cores, bound):
    script = jobs.script(ASKS, "asks.py")
    # Three ranks, with ten requests each, all of them before the first of the other deployment.
    greedy = jobs.start(*two_cores, "-n", "3", "python", script, "g", "10", "hold")
    read_until(greedy.stdout, "queued")
    other = jobs.start(*two_cores, *bound, "python", script, "o", "5")
    read_until(other.stdout, "queued")
    (jobs.folder / "go").touch()
    for process in (other, greedy):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
    log = (jobs.folder / "log").read_text()
    assert (log.count("g"), log.count("o")) == (30, 5), log
    assert log.rindex("o") <= 11, log


def test_waiting_for_room_that_another_deployment_holds_is_no_deadlock(jobs, two_cores):
    holds = jobs.start(*two_cores, "--rank-cpus", "2", "cat", stdin=-1, stdout=-1)
    waits = jobs.script(
        "import cmpi\n"
        "print('waits', flush=True)\n"
        "child = cmpi.spawn(lambda parent: print('has run'), resources=cmpi.Resources(cpus=1))\n"
        "cmpi.wait(child)",
        "waits.py",
    )
    waiting = jobs.start(*two_cores, "python", waits)
    read_until(waiting.stdout, "waits")
    read_until(waiting.stderr, "waits for room")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(3)  # the check comes within a second
    holds.communicate(timeout=30)
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, b"has run\n"), err.decode()


def test_cpus_and_memory_bound_a_greedy_deployment(jobs, two_cores):
    text = """
import cmpi, sys, threading
def hold(parent): cmpi.wait(parent)
asked = cmpi.Resources(cpus=0.5, memory="64 MiB")
n = 0
while True:
    try: cmpi.try_spawn(hold, resources=asked)
    except cmpi.NoCapacity: break
    n += 1
print(n, flush=True)
sys.stdin.read()
"""
    script = jobs.script(text, "grabs.py")
    held = []
    for bound, expected in ((("--cpus", "1"), 2), (("--memory", "100 MiB"), 1), ((), 1)):
        process = jobs.start(*two_cores, *bound, "python", script, stdin=-1)
        held.append(process)
        assert process.stdout.readline() == f"{expected}\n".encode(), bound
    for process in held:
        assert process.communicate(timeout=30)[1] == b"" and process.returncode == 0


ENVIRONMENT = """
import os, sys
import cmpi

def look(parent):
    return sorted(name for name in os.environ if name.startswith("MINE")), os.getcwd(), sys.argv[1:]

if __name__ == "__main__":
    print(look(None) == cmpi.result(cmpi.spawn(look, result=True)), *look(None), flush=True)
    if "stay" in sys.argv: sys.stdin.read()
"""


def test_a_deployment_sees_no_others_environment_folder_or_arguments(jobs, lab, deployed):  # noqa: F811
    script = jobs.script(ENVIRONMENT, "environment.py")
    folder = jobs.folder / "other"
    folder.mkdir()
    first = ("cmpirun", "--in", lab, "--output", "plain", "python", script, "stay")
    one = jobs.start(*first, env={"MINE_1": "1"}, stdin=-1)
    assert one.stdout.readline().decode() == f"True ['MINE_1'] {jobs.folder} ['stay']\n"
    # At the same time, and in the slot that a process of an earlier deployment has left.
    for name in ("MINE_2", "MINE_3"):
        result = deployed("python", script, name, env={name: "1"}, cwd=folder)
        assert result.out == f"True ['{name}'] {folder} ['{name}']\n", result
    assert one.communicate(timeout=30)[1] == b"" and one.returncode == 0


NAMES = """
import sys
import cmpi
try: cmpi.register("the-name")
except cmpi.CmpiError as error: print(type(error).__name__, error)
else: print("registered", flush=True); sys.stdin.read()
"""


def test_a_name_belongs_to_one_deployment_until_it_ends(jobs, lab, deployed):  # noqa: F811
    script = jobs.script(NAMES, "names.py")
    command = ("cmpirun", "--in", lab, "--output", "plain", "python", script)
    one = jobs.start(*command, stdin=-1)
    assert one.stdout.readline() == b"registered\n"
    taken = deployed("python", script)
    assert taken.code == 0 and "the-name" in taken.out and taken.out != "registered\n", taken
    one.kill()
    look = "import cmpi; print(cmpi.whereis('the-name'))"
    wait_until(lambda: deployed("python", "-c", look).out == "None\n", "the name is free again")
    assert deployed("python", script).out == "registered\n"


LEAKS = """
import os, socket, subprocess, sys
import numpy
import cmpi

def keep(parent):
    receiver = cmpi.Receiver(parent)
    print("child", os.getpid(), flush=True)
    cmpi.wait(parent)

files = [open(os.devnull) for _ in range(500)]
child = cmpi.spawn(keep)
sender = cmpi.Sender(child)
for _ in range(4): sender.send(numpy.ones(1 << 18))  # nobody receives them
for command in (["sleep", "600"], ["setsid", "sleep", "600"], ["sh", "-c", "sleep 600 & sleep 600"]):
    print("left", subprocess.Popen(command).pid, flush=True)
print("up", os.getpid(), flush=True)
if "crash" in sys.argv: os.kill(os.getpid(), 11)
"""


@pytest.mark.parametrize("end", ["return", "crash"])
def test_what_a_deployment_leaks_is_gone_with_it_and_others_go_on(jobs, lab, deployed, end):  # noqa: F811
    (folder,) = job_folders.find(lab)

    def files():
        return sum(len(names) for _, _, names in os.walk(f"/dev/shm/{os.path.basename(folder)}"))

    talks = cmpi_program("""
import numpy
def echo(parent):
    sender = cmpi.Sender(parent)
    for item in cmpi.Receiver(parent): sender.send(item)
child = cmpi.spawn(echo)
to, back = cmpi.Sender(child), cmpi.Receiver(child)
print("up", flush=True)
for line in sys.stdin:
    to.send(numpy.ones(1 << 18))
    print(back.recv().sum(), flush=True)
to.close()
""")
    talking = jobs.start("cmpirun", "--in", lab, "--output", "plain", "python", "-c", talks, stdin=-1)
    assert talking.stdout.readline() == b"up\n"

    def says():
        talking.stdin.write(b"again\n")
        talking.stdin.flush()
        return talking.stdout.readline()

    assert says() == b"262144.0\n"
    before = files()
    leaks = jobs.script(LEAKS, "leaks.py")
    for _ in range(3):
        result = deployed("python", leaks, end)
        assert result.code == (0 if end == "return" else 139), result
        pids = [int(line.split()[1]) for line in result.out.splitlines()]
        assert len(pids) == 5
        wait_until(lambda pids=pids: gone(pids), "its processes end with it")
        assert says() == b"262144.0\n"
    wait_until(lambda: files() <= before + 4, f"there were {before} files in shared memory")
    assert talking.communicate(timeout=30)[1] == b"" and talking.returncode == 0
