"""Everything that processes write arrives: bytes, forms, files."""

import fcntl
import hashlib
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios

import pytest

WRITER = """
import os, sys
fd, n, seed = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
block = b"".join(b"%s %08d \\xc3\\xa9\\n" % (seed.encode(), i) for i in range(2000))
for _ in range(n): os.write(fd, block)
"""


def test_megabytes_from_several_ranks_arrive_byte_for_byte(jobs):
    script = jobs.script(WRITER)
    logs = jobs.folder / "logs"
    result = jobs.run("cmpirun", "-n", "4", "--output", "plain", "--output-dir", str(logs),
                      "python", script, "1", "300", "x", text=False)  # fmt: skip
    assert result.code == 0, result.err
    expected = b"".join(b"x %08d \xc3\xa9\n" % i for i in range(2000)) * 300
    assert len(result.out) == 4 * len(expected)
    assert sorted(set(result.out.splitlines())) == sorted(set(expected.splitlines()))
    files = sorted(logs.glob("*.stdout"))
    assert len(files) == 4
    for file in files:
        assert hashlib.md5(file.read_bytes()).digest() == hashlib.md5(expected).digest()


def test_both_descriptors_keep_their_order_and_their_place(cmpirun):
    code = "import os\nfor i in range(500): os.write(1 + i % 2, b'%d\\n' % i)"
    result = cmpirun("python", "-c", code)
    assert result.out.split() == [str(i) for i in range(0, 500, 2)]
    assert result.err.split() == [str(i) for i in range(1, 500, 2)]


def test_output_of_c_code_of_children_and_before_a_crash_arrives(job):
    text = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
libc.puts(b"from C"); libc.fflush(None)
subprocess.run(["sh", "-c", "echo from a child"])
os.write(1, b"last words"); os.kill(os.getpid(), 9)
"""
    result = job(text)
    assert result.code == 137 and result.out == "from C\nfrom a child\nlast words", result


def test_binary_and_broken_utf8_pass_unchanged_in_plain_form(jobs):
    data = bytes(range(256)) * 1000
    (jobs.folder / "data").write_bytes(data)
    result = jobs.run("cmpirun", "--output", "plain", "cat", "data", text=False)
    assert result.out == data, len(result.out)


NAMES = """
import cmpi, os, sys
def detect(parent): print('hi from the child')
def load(parent): cmpi.register("loader"); print("loaded")
def fail(parent): raise ValueError("no such column")
cmpi.wait(cmpi.spawn(detect)); cmpi.wait(cmpi.spawn(lambda parent: print("named"), name="given"))
cmpi.wait(cmpi.spawn(load))
for pid in cmpi.spawn_group(2, detect, name="pair"): cmpi.wait(pid)
p = cmpi.try_spawn(fail, name="bad"); cmpi.wait(p)
print(repr(p), file=sys.stderr)
"""


def test_human_output_shows_ranks_and_names(jobs):
    result = jobs.run("cmpirun", "--strict", "--output-dir", "logs", "python", jobs.script(NAMES))
    said = re.sub(r"[0-9a-f]{7}", "PID", re.sub(" +", " ", result.out)).splitlines()
    lines = [line for line in said if "│" in line]
    assert sorted(lines) == sorted(
        ["detect · PID │ hi from the child", "given · PID │ named", "loader · PID │ loaded",
         *(f"pair[{i}] · PID │ hi from the child" for i in range(2))]
    ), result  # fmt: skip
    assert all(line.startswith(("rank 0 + ", "bad · PID ✗")) for line in said if "│" not in line), result
    assert "exit" not in result.out, "a clean end is quiet"
    (bad,) = re.findall(
        r"^cmpirun: bad · ([0-9a-f]{7}) failed: exit code 1: ValueError: no such column$", result.err, re.M
    )
    assert re.search(rf"^rank 0 +! {bad}$", result.err, re.M), "repr(Pid)"
    assert result.err.count("Traceback") == 1 and "memory" not in result.err
    assert f"bad-{bad}.stderr" in os.listdir(jobs.folder / "logs")
    assert "rank-0.stderr" in os.listdir(jobs.folder / "logs")


@pytest.mark.slow
def test_fifty_spawned_processes_that_succeed_take_a_few_lines(jobs):
    script = jobs.script(
        "import cmpi\ndef work(parent): pass\n"
        "for _ in range(2):\n    for pid in [cmpi.spawn(work) for _ in range(25)]: cmpi.wait(pid)\n"
    )
    result = jobs.run("cmpirun", "python", script)
    assert result.code == 0 and 1 <= len(result.out.splitlines()) <= 10, result
    assert jobs.run("cmpirun", "--quiet", "python", script).out == ""


def test_json_events_have_all_documented_fields(jobs):
    text = "import cmpi, sys\ncmpi.wait(cmpi.spawn(lambda parent: sys.exit(4), name='four'))\nprint('ü')"
    result = jobs.run("cmpirun", "--strict", "--output", "json", "python", jobs.script(text))
    *events, end = [json.loads(line) for line in result.out.splitlines()]
    root = events[0]["pid"]
    assert [(e["event"], e["parent"], e["rank"], e["name"]) for e in events] == [
        ("spawn", None, 0, "rank 0"), ("spawn", root, None, "four"), ("exit", root, None, "four"),
        ("output", None, 0, "rank 0"), ("exit", None, 0, "rank 0"),
    ]  # fmt: skip
    assert events[2]["code"] == 4 and not events[2]["ok"] and events[3]["data"] == "ü\n"
    for event in events:
        assert event["host"] == os.uname().nodename and event["time"] > 1.6e9
    assert end["event"] == "end" and end["code"] == result.code == 4
    assert end["first_failure"]["name"] == "four" and end["first_failure"]["rank"] is None
    assert end["usage"]["processes"] == 2 and end["usage"]["wall_s"] > 0


SPAWNING = """
import os, sys
from mpi4py import MPI
if len(sys.argv) > 1:
    os.write(1, b"from stdout\\n"); os.write(2, b"from stderr\\n")
    if sys.argv[1] == "many":
        for i in range(2000): os.write(1, b"%0999d\\n" % i)  # far more than a pipe holds
    MPI.Comm.Get_parent().Disconnect()
else:
    for how in ("few", "many"): MPI.COMM_SELF.Spawn(sys.executable, [__file__, how]).Disconnect()
    print("done")
"""


def test_output_of_the_programs_own_mpi_comm_spawn_is_shown(jobs):
    result = jobs.run("cmpirun", "--output", "json", "python", jobs.script(SPAWNING))
    assert result.code == 0 and not result.err, result
    events = [json.loads(line) for line in result.out.splitlines()]
    of_spawned = [event for event in events if event.get("name") == "MPI_Comm_spawn"]
    assert {(event["event"], event["pid"]) for event in of_spawned} == {("output", None)}
    out, err = ("".join(e["data"] for e in of_spawned if e["fd"] == fd).splitlines() for fd in (1, 2))
    assert sorted(out) == sorted(["from stdout"] * 2 + [f"{i:0999}" for i in range(2000)])
    assert err == ["from stderr"] * 2
    assert [e["data"] for e in events if e["event"] == "output" and e["pid"] is not None] == ["done\n"]


MANY = """
import cmpi
def work(parent): print("at work"); cmpi.Sender(parent).send(1)
def run(n):
    for p in [cmpi.spawn(work) for _ in range(n)]: cmpi.Receiver(p).recv(); cmpi.wait(p)
for n in (3, 20, 20, 20):
    run(n)
    print("done", flush=True)
    input()
"""


def test_processes_that_have_ended_cost_no_descriptor(jobs):
    command = ("cmpirun", "--output", "plain", "--output-dir", "logs", "python", jobs.script(MANY))
    job = jobs.start(*command, stdin=subprocess.PIPE)
    counts = []
    for _ in range(4):
        while b"done" not in job.stdout.readline():
            pass
        ours = [
            p for p in jobs.processes() if any(w in " ".join(p.cmdline()) for w in ("root/main", "job.py"))
        ]
        counts.append({p.pid: p.num_fds() for p in ours})
        job.stdin.write(b"on\n")
        job.stdin.flush()
    assert job.communicate(timeout=30)[1] == b"" and len(os.listdir(jobs.folder / "logs")) == 64
    # Some are kept for the next processes: as many as were needed at the same time.
    before, after = counts[1:4:2]
    assert all(after[pid] <= n + 20 for pid, n in before.items() if pid in after), counts


class Terminal:
    """A job on its own terminal, and what the user sees there."""

    def __init__(self, jobs, *command, columns=80, rows=24):
        pyte = pytest.importorskip("pyte")
        command = ("setsid", "--ctty", "--wait", *command)  # makes it the controlling terminal
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.job = jobs.start(
            *command, stdin=follower, stdout=follower, stderr=follower, env={"TERM": "xterm"}
        )
        os.close(follower)
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)

    @property
    def lines(self):
        return [re.sub(" +", " ", line).rstrip() for line in self.screen.display if line.strip()]

    def until(self, seen):
        """Show what arrives until `seen(lines)`, or until the end."""
        while not seen(self.lines):
            ready, _, _ = select.select([self.leader], [], [], 30)
            assert ready, self.lines
            try:
                data = os.read(self.leader, 65536)
            except OSError:  # the last process has closed its side
                data = b""
            if not data:
                break
            self.stream.feed(data)
        return self.lines

    def type(self, text):
        os.write(self.leader, text.encode())

    def end(self):
        lines = self.until(lambda lines: False)
        os.close(self.leader)
        assert self.job.wait(30) == 0, lines
        return lines


LIVE = """
import sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
if comm.rank == 0:
    print("...", end="", flush=True)
    name = input("name? ")
    print("hello", name)
else:
    print("at work")  # with no flush: a terminal sees it at once
    sys.stderr.write("\\r50 %"); sys.stderr.flush()
comm.barrier()
if comm.rank == 1:
    sys.stderr.write("\\r100 %\\n")
"""


def test_bars_dots_and_prompts_are_live_on_a_terminal(jobs):
    terminal = Terminal(jobs, "cmpirun", "-n", "2", "python", jobs.script(LIVE))
    live = ["rank 1 │ at work", "rank 1 ! 50 %", "rank 0 │ ...name?"]
    assert terminal.until(lambda lines: lines == live) == live, "while all of them wait"
    terminal.type("bob\n")
    at_work, answered, *last = terminal.end()
    assert (at_work, answered) == ("rank 1 │ at work", "rank 0 │ ...name? bob")
    assert sorted(last) == ["rank 0 │ hello bob", "rank 1 ! 100 %"]


def test_only_a_terminal_gets_colour(jobs):
    assert "\x1b" not in jobs.run("cmpirun", "echo", "x").out
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        leader, follower = pty.openpty()
        job = jobs.start("cmpirun", "echo", "x", stdout=follower, env={"TERM": "xterm"} | extra)
        os.close(follower)
        job.wait(30)
        assert (b"\x1b[" in os.read(leader, 10_000)) is coloured
        os.close(leader)
        job.communicate()


@pytest.mark.parametrize("deployed", [False, True], ids=["its own job", "a standing job"])
def test_output_that_cannot_be_written_is_no_success(jobs, deployed):
    """As for other programs: `echo x > /dev/full` fails, too."""
    options = []
    if deployed:
        name = f"full-{os.getpid()}"
        standing = jobs.start("cmpirun", "--serve", "--name", name)
        assert standing.stdout.readline().startswith(b"cmpirun: the job full-")
        options = ["--in", name]
    with open("/dev/full", "w") as full:
        for command in ("echo lost", "echo lost; exec sleep 60"):
            job = jobs.start("cmpirun", "--output", "plain", *options, "sh", "-c", command, stdout=full)
            assert job.wait(60) == 1
            said = b"cmpirun: cannot write the job's output: No space left on device\n"
            assert job.stderr.read() == said
    if deployed:
        standing.terminate()
        assert standing.wait(60) == 143


def test_a_prompt_without_newline_is_shown(jobs):
    job = jobs.start("cmpirun", "--output", "plain", "sh", "-c", "printf 'name? '; read x; echo hello $x",
                     stdin=subprocess.PIPE)  # fmt: skip
    assert os.read(job.stdout.fileno(), 100) == b"name? "
    out, _ = job.communicate(b"you\n", timeout=30)
    assert out == b"hello you\n"


def test_a_process_may_close_its_stdout(cmpirun):
    result = cmpirun("python", "-c", "import os; os.write(1, b'a'); os.close(1); os.close(2)")
    assert (result.code, result.out) == (0, "a"), result


@pytest.mark.parametrize(
    "how", ["sleep 300 &", "(setsid sleep 300 &);", "nohup sleep 300 >/dev/null 2>&1 &"]
)
def test_a_daemon_that_keeps_the_pipe_does_not_keep_the_job(cmpirun, how):
    result = cmpirun("sh", "-c", f"{how} echo started")
    assert (result.code, result.out) == (0, "started\n"), result


def test_a_slow_reader_of_a_terminal_bounds_the_memory(jobs):
    import time

    script = jobs.script(WRITER)
    job = jobs.start("cmpirun", "--output", "plain", "python", script, "1", "2000", "x")
    os.read(job.stdout.fileno(), 1000)
    time.sleep(1.0)
    rss = [p.memory_info().rss for p in jobs.processes() if "root/main.py" in " ".join(p.cmdline())]
    assert rss and max(rss) < 100e6
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0 and len(out) == 2000 * 2000 * 14 - 1000


def test_a_reader_that_goes_away_ends_the_job(jobs):
    result = jobs.run("sh", "-c", "cmpirun --output plain yes | head -n 2; exit 0")
    assert (result.code, result.out) == (0, "y\ny\n"), result


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_under_output_dir_is_reported_and_the_job_goes_on(jobs):
    small = jobs.folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("mount is not allowed here")
    try:
        script = jobs.script(WRITER)
        result = jobs.run("cmpirun", "--output", "plain", "--output-dir", str(small),
                          "python", script, "1", "20", "x")  # fmt: skip
        assert result.code == 0 and len(result.out.splitlines()) == 40_000
        assert result.err.count("No space left on device; no more is kept there") == 1, result
    finally:
        subprocess.run(["umount", str(small)], check=True)
