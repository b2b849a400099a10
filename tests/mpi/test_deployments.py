"""Programs that are deployed into a job that stays: `cmpirun --in NAME`."""

import fcntl
import os
import re
import signal
import subprocess
import termios

import psutil
import pytest

from cmpi._runtime.linux import job_folders
from tests.mpi.test_guests import read_until, wait_until

PROGRAM = """
import os, sys
from mpi4py import MPI
import cmpi

def child(parent, x):
    print("child", x, os.environ.get("OF_THIS_TERMINAL"), flush=True)
    return x

rank = MPI.COMM_WORLD.rank
total = MPI.COMM_WORLD.allreduce(rank + 1)
assert cmpi.world()[rank] == cmpi.pid() and cmpi.parent() is None
size, seen = MPI.COMM_WORLD.size, os.environ.get("OF_THE_JOB")
print(rank, "of", size, total, os.getcwd(), seen, sys.argv[1:], flush=True)
if rank == 0:
    print("typed", sys.stdin.read(), flush=True)
    print("result", cmpi.result(cmpi.spawn(child, 5, result=True)))
"""
WAITS = """
import os, sys, time
import cmpi
def sleep(parent):
    print("spawned", os.getpid(), flush=True)
    time.sleep(60)
child = cmpi.spawn(sleep) if cmpi.world()[0] == cmpi.pid() else None
print("up", os.getpid(), flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(3)
"""


@pytest.fixture
def lab(jobs):
    """Start a job without a program; yield its name."""
    name = f"lab-{os.getpid()}"
    process = jobs.start("cmpirun", "--serve", "--name", name, env={"OF_THE_JOB": "1"})
    read_until(process.stdout, rf"the job {name} is up")
    yield name
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    seen = (process.stdout.read() + process.stderr.read()).decode().splitlines()
    assert not any(line.startswith(("rank", "cmpirun:", "child")) for line in seen), (
        "this is for other terminals"
    )


@pytest.fixture
def deployed(jobs, lab):
    """Runs a program in that job to its end."""

    def run(*arguments, **kwargs):
        return jobs.run("cmpirun", "--in", lab, "--output", "plain", *arguments, **kwargs)

    return run


@pytest.fixture
def waiting(jobs, lab):
    """Deploys two ranks that wait; yields their cmpirun, and the processes of the deployment."""
    path = jobs.script(WAITS, "waits.py")

    def start(*options):
        cmpirun = jobs.start(
            "cmpirun", "--in", lab, "--output", "plain", *options, "-n", "2", "python", path
        )
        pids = [int(read_until(cmpirun.stdout, r"(?:up|spawned) (\d+)").group(1)) for _ in range(3)]
        return cmpirun, pids

    return start


def gone(pids):
    return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("form", ["plain", "human"])
def test_a_deployed_program_behaves_as_under_its_own_cmpirun(jobs, deployed, form):
    command = ("--output", form, "-n", "2", "python", jobs.script(PROGRAM), "-x", "y z")
    settings = {"input": b"hello", "env": {"OF_THIS_TERMINAL": "1"}}
    alone, there = jobs.run("cmpirun", *command, **settings), deployed(*command, **settings)
    assert alone.code == there.code == 0 and alone.err == there.err == ""

    def lines(result):  # the order of ranks and the pids of spawned processes vary
        return sorted(
            re.sub("· [0-9a-f]{7}", "· PID", re.sub(" +│", " │", line)) for line in result.out.splitlines()
        )

    assert lines(there) == lines(alone)
    assert any("1 of 2 3" in line and "None ['-x', 'y z']" in line for line in lines(there)), there


@pytest.mark.parametrize("n", [1, 2])
def test_a_deployments_first_failure_is_reported_to_its_own_cmpirun(jobs, deployed, n):
    script = jobs.script(
        "import cmpi\nif cmpi.world()[-1] == cmpi.pid(): raise ValueError('lost')\ncmpi.Mailbox('x').recv()"
    )
    result = deployed("-n", f"{n}", "python", script)
    assert result.code == 1 and "ValueError: lost" in result.err, result
    assert f"cmpirun: rank {n - 1} failed: exit code 1: ValueError: lost" in result.err, result
    assert deployed("-n", "2", "sh", "-c", "exit 7").code == 7
    missing = deployed("no-such-program")
    assert missing.code == 127 and "not found on PATH: no-such-program" in missing.err, missing
    assert deployed("true").code == 0


LOOKS = """
import os, cmpi
def look(parent=None):
    held = set()
    for name in os.listdir("/proc/self/fd"):
        try: held.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError: pass
    print(os.environ.get("OF_THIS_ONE"), os.environ.get("OF_ANOTHER"), *held, flush=True)
look()
cmpi.wait(cmpi.spawn(look))
"""


def test_a_deployment_has_neither_the_environment_nor_the_terminal_of_another(jobs, lab, deployed):
    options = "--in", lab, "--output", "plain", "-n", "1", "python", jobs.script(WAITS, "waits.py")
    other = jobs.start("cmpirun", *options, env={"OF_ANOTHER": "1"}, stdin=subprocess.PIPE)
    read_until(other.stdout, r"spawned (\d+)")
    terminal = {os.readlink(f"/proc/{other.pid}/fd/{fd}") for fd in range(3)}
    result = deployed("python", jobs.script(LOOKS), env={"OF_THIS_ONE": "1"})
    looks = [line.split() for line in result.out.splitlines()]
    assert [found[:2] for found in looks] == [["1", "None"]] * 2, result
    assert len(terminal) == 3 and not any(terminal & set(found) for found in looks), (terminal, result)
    other.send_signal(signal.SIGINT)
    other.communicate(timeout=30)


def test_ctrl_c_ends_only_its_own_deployment(jobs, lab, waiting):
    (one, ones), (other, others) = waiting(), waiting()
    listed = [line for line in jobs.run("cmpirun", "--jobs").out.splitlines() if f"{jobs.folder}/" in line]
    assert len(listed) == 2 and all(
        re.match(r"  [0-9a-f]{7} +since .*  cmpirun python ", it) for it in listed
    )
    one.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=30)
    assert one.returncode == 130 and out.count(b"interrupted") == 2, (out, err)
    assert gone(ones) and all(map(psutil.pid_exists, others))
    stopped = jobs.run("cmpirun", "--stop", lab)
    out, err = other.communicate(timeout=30)
    assert stopped.code == 0 and other.returncode == 143 and gone(others)
    assert err == b"cmpirun: the job has been ended, and this program with it\n"


@pytest.mark.parametrize("nohup", [False, True], ids=["without nohup", "with nohup"])
def test_closing_the_terminal_of_a_standing_job_ends_it_unless_nohup(jobs, nohup):
    name = f"on-a-terminal-{os.getpid()}"
    ours, theirs = os.openpty()
    command = [*(["nohup"] if nohup else []), "cmpirun", "--serve", "--name", name]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    job = jobs.start(*command, **streams, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    wait_until(lambda: name in jobs.run("cmpirun", "--jobs").out, "it is up")
    program = jobs.start(
        "cmpirun", "--in", name, "--output", "plain", "sh", "-c", "echo up; read it; echo $it",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    read_until(program.stdout, "up")
    os.close(ours)
    if not nohup:
        # Its input stays open until it has ended: at the end of its input it would end by itself.
        assert (job.wait(60), program.wait(60)) == (129, 129), program.stderr.read()
        assert program.stderr.read() == b"cmpirun: the job has been ended, and this program with it\n"
        return
    out, err = program.communicate(b"goes on\n", timeout=60)
    assert (out, program.returncode) == (b"goes on\n", 0), err
    assert jobs.run("cmpirun", "--stop", name).code == 0 and job.wait(60) == 143


def test_killing_a_cmpirun_ends_its_deployment(deployed, waiting):
    cmpirun, pids = waiting()
    cmpirun.kill()
    wait_until(lambda: gone(pids), "the deployment ends with its cmpirun")
    assert deployed("true").code == 0


def test_a_deployment_that_crashes_or_floods_harms_no_other(jobs, lab, deployed, waiting):
    flood = jobs.start("cmpirun", "--in", lab, "--output", "plain", "yes", "x" * 1000)
    assert flood.stdout.read(1) == b"x"  # after this, nothing more is read
    steady, pids = waiting("--no-deadlock-check")
    for _ in range(3):
        crash = deployed(
            "-n", "2", "python", "-c", "from mpi4py import MPI; import os; os.kill(os.getpid(), 9)"
        )
        assert crash.code == 137, crash
    assert deployed("-n", "2", "python", jobs.script(PROGRAM), input=b"").code == 0
    assert all(map(psutil.pid_exists, pids)) and steady.poll() is None and flood.poll() is None
    flood.stdout.close()
    assert flood.wait(30) == 141
    steady.send_signal(signal.SIGTERM)
    assert steady.wait(30) == 143


def test_a_deployments_deadlock_is_found_unless_another_program_could_end_it(jobs, lab, deployed, waiting):
    cmpirun, _ = waiting()
    alone = deployed(
        "python", "-c", "import cmpi; cmpi.Receiver(cmpi.spawn(lambda p: cmpi.Receiver(p).recv())).recv()"
    )
    assert alone.code == 86 and "deadlock: all processes of the job wait" in alone.err, alone
    meets = jobs.script(
        "import cmpi\ncmpi.register('meets')\nprint('waits', flush=True)\nprint(cmpi.Mailbox().recv())"
    )
    waits = jobs.start("cmpirun", "--in", lab, "--output", "plain", "python", meets)
    read_until(waits.stdout, "waits")
    sends = deployed(
        "python", "-c", "import cmpi, time; time.sleep(1); cmpi.Sender.to('meets').send('woken')"
    )
    out, err = waits.communicate(timeout=30)
    assert (sends.code, waits.returncode, out) == (0, 0, b"woken\n"), (sends, err)
    cmpirun.send_signal(signal.SIGTERM)
    assert cmpirun.wait(30) == 143


def arguments(process):
    """The command line of a process that may be ending."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_ended_guests_and_deployments_leave_no_descriptor_thread_or_file(jobs, lab, deployed):
    (folder,) = job_folders.find(lab)
    guest = jobs.script(f"""
import cmpi
with cmpi.Job.attach("{lab}"):
    cmpi.Receiver(cmpi.spawn(lambda parent: cmpi.Sender(parent).send(1))).recv()
""", "guest.py")  # fmt: skip

    def held():
        """Counts files in the job's folders, and descriptors and threads of the root and its helper."""
        files = [path for at in (folder, f"/dev/shm/{os.path.basename(folder)}") for path in os.walk(at)]
        roots = [it for it in jobs.processes() if any("root/main.py" in word for word in arguments(it))]
        return (
            sum(len(names) for _, _, names in files),
            sum(it.num_fds() for it in roots),
            sum(it.num_threads() for it in roots),
        )

    def come_and_go():
        assert deployed("-n", "2", "true").code == 0
        assert jobs.run("python", guest).code == 0
        assert deployed("cat", input=b"typed").out == "typed"

    come_and_go()
    wait_until(lambda: not [it for it in jobs.processes() if "guest.py" in arguments(it)], "guests end")
    before = held()
    for _ in range(5):
        come_and_go()
    # The number of slots follows demand: there may be one or two more than before, each with a file or two.
    wait_until(lambda: all(a <= b + 4 for a, b in zip(held(), before)), f"there were {before}")


def test_cpus_and_memory_bound_what_a_deployment_reserves_and_leave_the_rest_to_others(jobs, lab, deployed):
    small = cmpi_program("""
capacity = cmpi.capacity()
print(capacity.total.cpus, capacity.free.cpus, capacity.total.memory_bytes >> 20)
quarter = cmpi.Resources(cpus=0.25)
held = [cmpi.spawn(hold, resources=quarter)]
print(cmpi.capacity().free.cpus)
try: cmpi.try_spawn(hold, resources=quarter)
except cmpi.NoCapacity as error: print(error)
for amount in ({"cpus": 1}, {"memory": "1 GiB"}):
    try: cmpi.spawn(hold, resources=cmpi.Resources(**amount))
    except cmpi.NeverFits as error: print(error)
print("full", flush=True)
sys.stdin.read()
""")
    start = ("cmpirun", "--in", lab, "--output", "plain", "--rank-cpus", "0.25", "--cpus", "0.5")
    path = jobs.script(small, "small.py")
    process = jobs.start(*start, "--memory", "64 MiB", "python", path, stdin=subprocess.PIPE)
    lines = [process.stdout.readline().decode() for _ in range(6)]
    assert lines[:2] == ["0.5 0.25 64\n", "0.0\n"], lines
    assert (
        "asked for 0.25 cpus and 16 MiB; this deployment holds 0.5 cpus and 16 MiB, and may" in lines[2]
    ), lines
    assert (
        "asked for 1 cpus and 16 MiB; this deployment may use 0.5 cpus and 64 MiB together" in lines[3]
    ), lines
    assert "asked for 0 cpus and 1 GiB; this deployment may" in lines[4], lines
    other = deployed("python", "-c", cmpi_program("cmpi.spawn(hold, resources=cmpi.Resources(cpus=0.5))"))
    assert other.code == 0, other
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, (out, err)
    ranks = deployed("-n", "3", "--rank-cpus", "1", "--cpus", "2", "true")
    assert ranks.code == 2 and "--rank-cpus reserves more for 3 ranks than --cpus" in ranks.err, ranks


def cmpi_program(text):
    """A program whose spawned processes, `hold`, end with it."""
    return f"import cmpi, sys\ndef hold(parent): cmpi.wait(parent)\n{text}"


def test_an_impossible_deployment_is_refused_with_the_reason(jobs, deployed):
    nowhere = jobs.run("cmpirun", "--in", "no-such-job", "true")
    assert nowhere.code == 2 and "no job of yours on this host is called 'no-such-job'" in nowhere.err
    wrong = deployed("--host", "a:2", "true")
    assert wrong.code == 2 and "--host is given when a job starts" in wrong.err


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: this needs root, to become another user")
def test_another_user_can_neither_see_nor_reach_a_job(jobs, lab):
    (folder,) = job_folders.find(lab)
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cmpirun")
    settings = {"env": {"HOME": "/"}, "cwd": "/"}
    listed = jobs.run(*other, "--jobs", **settings)
    if listed.code == 126 or "Permission denied" in listed.err:
        pytest.skip("NOT TESTED: this Python cannot be read by other users")
    assert listed.code == 0 and lab not in listed.out, listed
    for command in (("--in", lab, "true"), ("--in", lab, "--detach", "true"), ("--stop", lab)):
        refused = jobs.run(*other, *command, **settings)
        assert refused.code and f"no job of yours on this host is called '{lab}'" in refused.err, refused
    by_path = jobs.run(*other, "--in", folder, "true", **settings)
    assert by_path.code == 2 and "does not accept a program" in by_path.err, by_path
    own = jobs.run("cmpirun", "--in", lab, "true")
    assert own.code == 0, own


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: this needs root, to become another user")
def test_jobs_of_two_users_may_have_one_name(jobs, lab):
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cmpirun")
    settings = {"env": {"HOME": "/"}, "cwd": "/"}
    theirs = jobs.start(*other, "--serve", "--name", lab, **settings)
    line = theirs.stdout.readline().decode() or theirs.stderr.read().decode()
    if "Permission denied" in line:
        pytest.skip("NOT TESTED: this Python cannot be read by other users")
    assert f"the job {lab} is up" in line
    user = ("sh", "-c", "id -u")
    assert jobs.run("cmpirun", "--in", lab, "--output", "plain", *user).out == f"{os.geteuid()}\n"
    assert jobs.run(*other, "--in", lab, "--output", "plain", *user, **settings).out == "65534\n"
    assert jobs.run(*other, "--stop", lab, **settings).code == 0
    assert theirs.wait(60) == 128 + signal.SIGTERM
    assert jobs.run("cmpirun", "--in", lab, "true").code == 0, "the other job goes on"
