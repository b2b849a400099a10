"""Processes that join a job which has not started them: `cmpi.Job`, `Job.attach`, and their ends."""

import os
import re
import signal
import subprocess
import time

import psutil
import pytest

from tests.mpi.conftest import SLOWNESS

PRELUDE = """
import os, signal, sys, time
import cmpi

def square(parent, x):
    cmpi.Sender(parent).send(x * x)

def answer(parent):
    sender = cmpi.Sender(parent)
    for x in cmpi.Receiver(parent):
        sender.send(x + 1)

def sleep(parent):
    with cmpi.Sender(parent) as sender:
        sender.send(os.getpid())
        time.sleep(60)

def fail(parent, word):
    raise ValueError(word)
"""


@pytest.fixture
def guest(jobs):
    """Runs the text of a script after PRELUDE as a plain Python program; returns what it has printed."""

    def run(text, **kwargs):
        result = jobs.run("python", jobs.script(PRELUDE + text), **kwargs)
        assert result.code == 0 and not result.err, result
        return result.out

    return run


def read_until(stream, pattern):
    """Read lines of a stream up to the first that matches; return the match."""
    for line in stream:
        found = re.search(pattern, line.decode())
        if found:
            return found
    raise AssertionError(f"no {pattern} before the end")


def wait_until(true, what):
    end = time.monotonic() + 20 * SLOWNESS
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_guest_can_do_what_any_process_of_a_job_can(guest):
    out = guest(
        """
import asyncio, numpy
with cmpi.Job(cpus=2) as job:
    assert cmpi.parent() is None and cmpi.world() == [] and cmpi.capacity().total.cpus == 2
    workers = [cmpi.spawn(square, x) for x in range(3)]
    print([cmpi.Receiver(worker).recv(timeout=20) for worker in workers])
    print([cmpi.wait(worker).code for worker in workers])

    child = cmpi.spawn(answer)
    sender, receiver = cmpi.Sender(child), cmpi.Receiver(child)
    for x in range(100):
        sender.send(x)
        assert receiver.recv() == x + 1
    sender.close()
    print(cmpi.wait(child))

    big = cmpi.spawn(lambda parent: cmpi.Sender(parent).send(numpy.arange(1_000_000)))
    small = cmpi.spawn(square, 3)
    receivers, got = [cmpi.Receiver(big), cmpi.Receiver(small)], []
    while receivers:
        chosen = cmpi.select(*receivers, timeout=20)
        receivers.remove(chosen.operation)
        got.append(int(numpy.sum(chosen.value)))
    print(*sorted(got))

    print(cmpi.result(cmpi.spawn(lambda parent, x: x * 2, 21, result=True)))
    with cmpi.ProcessPool(2) as pool:
        print(list(pool.map(abs, [-1, -2, -3])))
    cmpi.register("guest")
    print(cmpi.result(cmpi.spawn(lambda parent: cmpi.whereis("guest") == parent, result=True)))
    members = cmpi.spawn_group(2, lambda parent: print("size", len(cmpi.world())))
    print("group", [cmpi.wait(member).code for member in members])

    async def main():
        child = await cmpi.aspawn(square, 9)
        return await cmpi.Receiver(child).arecv()
    print(asyncio.run(main()))
    print(job.failures)
""",
        timeout=60,
    )
    lines = out.splitlines()
    assert lines.count("size 2") == 2
    assert [line for line in lines if line != "size 2"] == [
        "[0, 1, 4]", "[0, 0, 0]", "0", "9 499999500000", "42", "[1, 2, 3]", "True", "group [0, 0]", "81",
        "[]",
    ]  # fmt: skip


def test_a_process_can_have_one_job_after_another_without_leaks(guest):
    out = guest(
        """
def held():
    threads = {line for line in os.listdir("/proc/self/task")}
    return len(os.listdir("/proc/self/fd")), len(threads)

counts = []
for _ in range(3):
    with cmpi.Job() as job:
        assert cmpi.Receiver(cmpi.spawn(square, 5)).recv(timeout=20) == 25
    assert repr(job).endswith("left>")
    counts.append(held())
print(counts[1] == counts[2] or counts)
try:
    cmpi.spawn(square, 1)
except cmpi.NotRunning as error:
    print("init" in str(error))
""",
        timeout=60,
    )
    assert out.split() == ["True", "True"]


def test_a_guests_job_fails_only_for_unhandled_failures(jobs):
    script = """
try:
    with cmpi.Job() as job:
        seen, unseen = cmpi.spawn(fail, "seen"), cmpi.spawn(fail, "unseen")
        assert cmpi.wait(seen).code == 1
        while not job.failures:
            time.sleep(0.01)
        print(*job.failures)
except cmpi.JobFailed as error:
    print(error.failures[0].pid == unseen, error.failures[0].status.verdict, error)
"""
    result = jobs.run("python", jobs.script(PRELUDE + script))
    first, second = result.out.splitlines()
    assert result.code == 0 and re.fullmatch(r"fail · [0-9a-f]{7}: 1: ValueError: unseen", first), result
    assert second.startswith("True ValueError: unseen a process of cmpi-") and second.endswith(first)
    assert result.err.count("Traceback") == 2, "which appeared where the guest writes"


def test_an_exception_in_the_with_block_ends_the_job_and_propagates(jobs):
    script = """
with cmpi.Job() as job:
    child = cmpi.spawn(sleep)
    print(cmpi.Receiver(child).recv(timeout=20), flush=True)
    raise KeyError("mine")
"""
    result = jobs.run("python", jobs.script(PRELUDE + script))
    assert result.code == 1 and result.err.rstrip().endswith("KeyError: 'mine'"), result
    assert not psutil.pid_exists(int(result.out))


def test_output_goes_to_the_stream_that_the_guest_chose(guest):
    out = guest("""
import contextlib, io
there, later = io.StringIO(), io.StringIO()
def shout(parent, text):
    print(text)
    print(text.upper(), file=sys.stderr)
with contextlib.redirect_stdout(there), contextlib.redirect_stderr(there):
    with cmpi.Job():
        cmpi.wait(cmpi.spawn(shout, "one"))
        with contextlib.redirect_stdout(later), contextlib.redirect_stderr(later):
            cmpi.wait(cmpi.spawn(shout, "two"))
print(sorted((there.getvalue() + later.getvalue()).split()))
with cmpi.Job(stdout=later, output="headings"):
    cmpi.wait(cmpi.spawn(shout, "three"))
print("three" in later.getvalue(), "shout · " in later.getvalue())
""")
    assert out.splitlines() == ["['ONE', 'TWO', 'one', 'two']", "True True"]


def test_a_guests_mpi_is_its_own_and_starts_on_import(guest):
    out = guest("""
with cmpi.Job():
    cmpi.Receiver(cmpi.spawn(square, 1)).recv(timeout=20)
    from mpi4py import MPI
    print(MPI.COMM_WORLD.size, MPI.COMM_WORLD.allreduce(3))
    def world(parent):
        from mpi4py import MPI
        return MPI.COMM_WORLD.size
    print(cmpi.result(cmpi.spawn(world, result=True)))
""")
    assert out.splitlines() == ["1 3", "1"]


def test_a_forked_child_of_a_guest_is_no_guest_and_does_not_end_the_job(guest):
    out = guest("""
with cmpi.Job() as job:
    child = os.fork()
    if not child:
        try:
            cmpi.spawn(square, 1)
        except cmpi.NotRunning as error:
            print("forked" in str(error), flush=True)
        job.close()
        os._exit(0)
    os.waitpid(child, 0)
    print(cmpi.Receiver(cmpi.spawn(square, 4)).recv(timeout=20))
""")
    assert out.split() == ["True", "16"]


@pytest.mark.parametrize("forked", [False, True])
def test_a_killed_guest_leaves_no_processes_or_files(jobs, forked):
    # The forked process holds the connection to the root open, but the guest's end is noticed all the same.
    script = """
job = cmpi.Job()
child = cmpi.spawn(sleep)
pid = cmpi.Receiver(child).recv(timeout=20)
held = os.fork() if FORKED else 0
if FORKED and not held:
    time.sleep(60)
    os._exit(0)
print(pid, held, job._cmpirun._process.pid, flush=True)
time.sleep(60)
"""
    process = jobs.start("python", jobs.script(PRELUDE + script.replace("FORKED", str(forked))))
    spawned, held, cmpirun = map(int, read_until(process.stdout, r"(\d+) (\d+) (\d+)").groups())
    process.kill()
    wait_until(lambda: not psutil.pid_exists(spawned), "what it spawned ends")
    wait_until(lambda: not psutil.pid_exists(cmpirun), "its job ends")
    if held:
        os.kill(held, signal.SIGKILL)
    # the fixture looks for files and processes that are left over


def test_a_guest_survives_the_death_of_its_job(guest):
    out = guest("""
job = cmpi.Job()
child = cmpi.spawn(sleep)
receiver = cmpi.Receiver(child)
receiver.recv(timeout=20)
os.kill(job._cmpirun._process.pid, signal.SIGKILL)
try:
    receiver.recv()
except cmpi.PeerExited as error:
    print(error.pid == child)
while True:  # that the child has ended may be known before the job has
    try:
        cmpi.spawn(square, 1)
        time.sleep(0.01)
    except cmpi.NotRunning as error:
        print("has ended" in str(error))
        break
print(repr(job).endswith("ended>"))
with cmpi.Job():
    print(cmpi.Receiver(cmpi.spawn(square, 6)).recv(timeout=20))
""")
    assert out.split() == ["True", "True", "True", "36"]


@pytest.fixture
def standing(jobs):
    """Start a job without a program; yield its name."""
    name = f"lab-{os.getpid()}"
    process = jobs.start("cmpirun", "--serve", "--name", name)
    read_until(process.stdout, rf"the job {name} is up")
    yield name
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM


ATTACHED = """
job = cmpi.Job.attach(sys.argv[1])
"""


def test_guests_join_a_standing_job_exchange_messages_and_leave(jobs, standing):
    host = (
        ATTACHED
        + """
cmpi.register("host")
child = cmpi.spawn(sleep, name="hers")
print("up", cmpi.Receiver(child).recv(timeout=20), flush=True)
inbox = cmpi.Mailbox()
print("heard", inbox.recv(), flush=True)
sys.stdin.read()
job.close()
print("left")
"""
    )
    visitor = (
        ATTACHED
        + """
host = cmpi.whereis("host")
cmpi.Sender.to("host").send("hello")
print("watching", flush=True)
print(cmpi.wait(host))
print(cmpi.Receiver(cmpi.spawn(square, 8)).recv(timeout=20), job.failures)
job.close()
"""
    )
    first = jobs.start("python", jobs.script(PRELUDE + host, "host.py"), standing, stdin=subprocess.PIPE)
    hers = int(read_until(first.stdout, r"up (\d+)").group(1))
    second = jobs.start("python", jobs.script(PRELUDE + visitor, "visitor.py"), standing)
    read_until(second.stdout, "watching")
    read_until(first.stdout, "heard hello")
    first.stdin.close()
    read_until(first.stdout, "left")
    assert second.stdout.read().decode().splitlines() == ["0", "64 []"], second.stderr.read()
    wait_until(lambda: not psutil.pid_exists(hers), "what a guest spawned ends with it")
    assert first.wait(20) == second.wait(20) == 0


def test_what_a_guest_has_detached_stays_in_the_job(jobs, standing):
    first = (
        ATTACHED
        + """
def serve(parent):
    for call in cmpi.Mailbox[cmpi.Call]("service"):
        call.reply(call.request.upper())

cmpi.spawn(sleep)
service = cmpi.spawn(serve, detached=True)
assert cmpi.whereis("service", timeout=20) == service
job.close()
"""
    )
    second = (
        ATTACHED
        + """
print(cmpi.call("service", "still here", timeout=20))
job.close()
"""
    )
    for text, printed in ((first, ""), (second, "STILL HERE\n"), (second, "STILL HERE\n")):
        result = jobs.run("python", jobs.script(PRELUDE + text), standing)
        assert (result.code, result.out) == (0, printed), result


def test_peers_notice_when_a_guest_of_a_standing_job_is_killed(jobs, standing):
    victim = (
        ATTACHED
        + """
cmpi.register("victim")
cmpi.spawn(sleep)
print("up", cmpi.pid(), flush=True)
time.sleep(60)
"""
    )
    watcher = (
        ATTACHED
        + """
receiver = cmpi.Receiver(cmpi.whereis("victim"))
print("at it", flush=True)
try:
    receiver.recv()
except cmpi.PeerExited as error:
    print(error.status.code, "without leaving" in str(error))
"""
    )
    first = jobs.start("python", jobs.script(PRELUDE + victim, "victim.py"), standing)
    read_until(first.stdout, "up")
    second = jobs.start("python", jobs.script(PRELUDE + watcher, "watcher.py"), standing)
    read_until(second.stdout, "at it")
    first.kill()
    assert second.stdout.read().decode().splitlines() == ["1 True"], second.stderr.read()
    assert second.wait(20) == 0


def test_a_guest_joins_a_job_with_a_program_and_exchanges_messages_with_its_ranks(jobs, cmpirun):
    rank = """
import subprocess, sys, os
import cmpi
if cmpi.world()[0] == cmpi.pid():
    cmpi.register("first")
    inbox = cmpi.Mailbox()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI", "PRTE"))}
    guest = subprocess.Popen([sys.executable, sys.argv[1], sys.argv[2]], env=environment)
    print("rank heard", inbox.recv(timeout=20))
    assert guest.wait(20) == 0
"""
    guest = """
job = cmpi.Job.attach(sys.argv[1])
cmpi.Sender.to("first").send("a guest")
job.close()
"""
    name = f"with-ranks-{os.getpid()}"
    script = jobs.script(PRELUDE + guest, "guest.py")
    result = cmpirun("--name", name, "-n", "2", "python", jobs.script(rank), script, name)
    assert result.code == 0 and result.out == "rank heard a guest\n", result


def test_joining_an_unsuitable_job_is_refused_with_the_reason(guest, standing):
    out = guest(
        f"""
for attempt in (
    lambda: cmpi.Job.attach("no-such-job"),
    lambda: cmpi.Job(n=4),
    lambda: cmpi.Job(gpus=2),
    lambda: cmpi.Job(output="loud", stdout=sys.stdout),
    lambda: cmpi.Job(slurm=dict(node=2)),
    lambda: cmpi.Job(slurm=dict(nodes=0)),
):
    try:
        attempt()
    except cmpi.CmpiError as error:
        print(type(error).__name__, error)
with cmpi.Job.attach("{standing}"):
    for attempt in (cmpi.Job, lambda: cmpi.Job.attach("{standing}")):
        try:
            attempt()
        except cmpi.UsageError as error:
            print(error)
""".replace("lambda: cmpi.Job(gpus=2)", "lambda: cmpi.Job(stdout=open(os.devnull, 'w'), gpus=2)")
    )
    lines = [line for line in out.splitlines() if not line.startswith(("cmpirun:", "Try:"))]
    assert re.match(rf"LaunchError no job of yours .*'no-such-job'; there are: .*{standing}", lines[0])
    assert lines[1].startswith("UsageError cmpi.Job does not accept the option 'n'")
    assert [line.split(",")[0] for line in lines[2:4]] == [
        "UsageError cmpirun could not start the job (exit code 2); its message is on stderr"
    ] * 2
    assert lines[4].startswith(
        "UsageError cmpi.Job(slurm=...): unknown option 'node'; accepted: nodes, tasks, time, partition"
    )
    assert lines[5] == "UsageError nodes and tasks must be at least 1; found nodes=0"
    assert lines[6:] == ["this process is already part of a job, and can be part of only one at a time"] * 2


def test_jobs_are_listed_and_can_be_stopped_by_name(jobs):
    name = f"to-stop-{os.getpid()}"
    process = jobs.start("cmpirun", "--serve", "--name", name)
    read_until(process.stdout, rf"the job {name} is up")
    guest = jobs.start("python", jobs.script(PRELUDE + ATTACHED + """
child = cmpi.spawn(sleep)
print("up", cmpi.Receiver(child).recv(timeout=20), flush=True)
status = cmpi.wait(child)
try:
    while True:
        cmpi.capacity()
        time.sleep(0.01)
except cmpi.NotRunning:
    print("sent away")
"""), name)  # fmt: skip
    spawned = int(read_until(guest.stdout, r"up (\d+)").group(1))
    again = jobs.run("cmpirun", "--serve", "--name", name)
    assert again.code == 2 and f"a job of yours named {name} already runs here" in again.err, again
    (line,) = [it for it in jobs.run("cmpirun", "--jobs").out.splitlines() if it.startswith(f"{name} ")]
    assert re.search(r"  since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \(serves guests\)$", line)
    stopped = jobs.run("cmpirun", "--stop", name)
    assert stopped.code == 0 and process.wait(20) == 143, stopped
    assert guest.stdout.read() == b"sent away\n" and guest.wait(20) == 0, guest.stderr.read()
    assert not psutil.pid_exists(spawned)
    gone = jobs.run("cmpirun", "--stop", name)
    assert gone.code == 1 and f"no job of yours on this host is called '{name}'" in gone.err, gone
