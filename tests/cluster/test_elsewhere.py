"""A job on another machine: `--in HOST:NAME`, `--attach HOST:NAME/NUMBER` and `--stop HOST:NAME`."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios

import pytest

from cmpi._core.output.human_form import TYPICAL_TITLE
from tests.cluster.conftest import until
from tests.mpi.test_deployments import arguments
from tests.mpi.test_guests import read_until

NAME = "lab-elsewhere"
PROGRAM = """\
import os, sys
from mpi4py import MPI
import helper
world = MPI.COMM_WORLD
print(world.rank, os.uname().nodename, helper.TEXT, sys.argv[1:], os.environ["OF_HERE"], flush=True)
if world.rank == 0:
    print("typed", len(sys.stdin.read()), flush=True)
    print("warns", file=sys.stderr, flush=True)
world.Barrier()
sys.exit(3)
"""
WAITS = """\
import os, sys, time
try:
    print("up", os.isatty(1), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def lab(on_hosts, jobs):
    """A job on h2 without a program."""
    command = on_hosts.hosts.command("h2", "cmpirun", "--serve", "--name", NAME, cwd=jobs.folder)
    job = jobs.start(*command)
    read_until(job.stdout, f"the job {NAME} is up")
    yield job
    stopped = on_hosts.run("--stop", f"h2:{NAME}")
    assert stopped.code == 0 and job.wait(60) == 128 + signal.SIGTERM, stopped


def shipped(on_hosts):
    """The folders of programs that were sent to h2."""
    return on_hosts.hosts.call("h2", "sh", "-c", "ls -d /tmp/cmpi-*/ship-* 2>/dev/null; true").split()


def test_a_program_runs_on_the_other_machine_as_it_does_here(lab, on_hosts, jobs):
    on_hosts.only_on_h1("/tmp/mine", job__py=PROGRAM, helper__py="TEXT = 'shipped'")
    there = ("--in", f"h2:{NAME}", "--output", "plain")
    settings = {"cwd": "/tmp/mine", "env": {"OF_HERE": "of here"}, "timeout": 60}
    text = b"x" * 3_000_000  # more than any window
    result = on_hosts.run(*there, "-n", "2", "python", "job.py", "--in", "a b", input=text, **settings)
    lines = sorted(result.out.splitlines())
    each = "h2 shipped ['--in', 'a b'] of here"
    assert result.code == 3 and lines == [f"0 {each}", f"1 {each}", "typed 3000000"], result
    assert result.err.startswith("warns\n") and "failed: exit code 3" in result.err, result
    until(lambda: not shipped(on_hosts))
    big = on_hosts.run(*there, "sh", "-c", "yes | head -c 9000000", timeout=60)
    assert big.code == 0 and len(big.out) == 9_000_000 and big.err == ""


def test_ctrl_c_and_a_lost_connection_end_the_remote_program(lab, on_hosts, jobs):
    waits = jobs.script(WAITS, "waits.py")
    there = ("--in", f"h2:{NAME}", "--output", "plain", "python", waits)
    one = on_hosts.start(*there)
    assert one.stdout.readline() == b"up False\n"
    for process in jobs.processes():
        words = arguments(process)
        if f"h2:{NAME}" in words and "nsenter" not in words[0]:
            process.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out) == (130, b"interrupted\n"), (out, err)
    lost = on_hosts.start(*there)
    assert lost.stdout.readline() == b"up False\n"
    for process in jobs.processes():
        if arguments(process)[:1] == ["ssh"]:
            process.kill()
    out, err = lost.communicate(timeout=60)
    assert lost.returncode == 255 and b"cmpirun: the connection with h2 has ended" in err, (out, err)
    until(lambda: "waits.py" not in on_hosts.hosts.call("h2", "ps", "-eo", "args"))


def test_a_remote_program_has_a_terminal_of_the_same_size(lab, on_hosts, jobs):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 133, 0, 0))
    script = jobs.script("import os; print('COLUMNS', os.environ.get('COLUMNS'))")
    job = on_hosts.start(
        "--in", f"h2:{NAME}", "python", script, stdin=theirs, stdout=theirs, stderr=theirs,
        env={"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            break
    os.close(ours)
    columns = b"COLUMNS %d\r\n" % (133 - TYPICAL_TITLE - 4)
    assert job.wait(30) == 0 and b"\x1b[" in seen and columns in seen, seen


def test_a_deployment_detached_on_another_machine_can_be_followed_and_stopped(lab, on_hosts, jobs):
    on_hosts.only_on_h1("/tmp/mine", job__py=PROGRAM, helper__py="TEXT = 'shipped'")
    there = ("--in", f"h2:{NAME}", "--output", "plain", "--detach")
    done = on_hosts.run(*there, "python", "job.py", cwd="/tmp/mine", env={"OF_HERE": "of here"})
    assert done.code == 0 and re.fullmatch(rf"h2:{NAME}/[0-9a-f]{{7}}\n", done.out), done
    shown = on_hosts.run("--attach", done.out.strip())
    assert shown.code == 3 and shown.out == "0 h2 shipped [] of here\ntyped 0\n", shown
    assert shown.err.startswith("warns\n"), shown
    waits = on_hosts.run(*there, "python", jobs.script(WAITS, "waits.py")).out.strip()
    listed = on_hosts.run("--jobs", "h2")
    name, number = waits.removeprefix("h2:").split("/")
    assert listed.code == 0, listed
    (job,) = [it for it in listed.out.splitlines() if it.startswith(f"{name} ")]
    assert job.endswith("(serves guests)") and f"\n  {number}" in listed.out, listed
    assert on_hosts.run("--stop", waits).code == 0
    ended = on_hosts.run("--attach", waits)
    assert ended.code == 143, ended


def test_errors_of_the_other_machine_are_shown_with_its_name(on_hosts, jobs):
    unknown = on_hosts.run("--in", "h2:no-such-job", "true")
    assert unknown.code == 2 and "h2: no job of yours on this host is called 'no-such-job'" in unknown.err
    nowhere = on_hosts.run("--in", "h9:lab", "true")
    assert nowhere.code == 2 and "h9: there is no host of this name" in nowhere.err, nowhere
    jobs_there = on_hosts.run("--jobs", "h9:")
    assert jobs_there.code == 2 and "h9: there is no host of this name" in jobs_there.err, jobs_there
