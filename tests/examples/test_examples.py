"""Each example, run by its one line, with its expected tree and output."""

import pathlib
import re
import subprocess
import sys

import pytest

from tests.mpi import conftest

jobs = conftest.jobs
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
# What those that asked for memory have used of it; said of some.
MEMORY = r"(cmpirun: memory that was asked for.*\n(    .*: asked [\d.]+ MiB, used [\d.]+ MiB\n)+)?"
pytestmark = pytest.mark.mpi


def run(jobs, *command):
    """Output with every pid replaced by A, B, C... in order of appearance, and the exit code."""
    result = jobs.run("cmpirun", *command, cwd=EXAMPLES)
    assert result.code == 0 and re.fullmatch(MEMORY, result.err), result
    names = {}
    for pid in re.findall(r"^[0-9a-f]{7}$|(?<=spawned: )[0-9a-f]{7}", result.out, re.M):
        names.setdefault(pid, chr(ord("A") + len(names)) if len(names) < 26 else f"P{len(names)}")
    return re.sub(r"\b[0-9a-f]{7}\b", lambda m: names.get(m[0], m[0]), result.out).splitlines()


def by_process(lines):
    """What each process wrote and did, whatever the order among processes."""
    blocks, name = {}, None
    for line in lines:
        if line.startswith("  "):
            blocks[name].append(line[2:])
        else:
            name = line
            blocks.setdefault(name, [])
    return blocks


def test_hello(jobs):
    blocks = by_process(run(jobs, "-n", "4", "python", "hello.py"))
    said = sorted(line for block in blocks.values() for line in block)
    assert said == sorted(
        [f"hello from rank {r} of 4" for r in range(4)] + ["the ranks add up to 6"] + ["exited: 0"] * 4
    )


def test_ring(jobs):
    blocks = by_process(run(jobs, "python", "ring.py", "4"))
    assert blocks["A"] == [*(f"spawned: {x}" for x in "BCDE"), "the token came back as 4", "exited: 0"]
    for i, name in enumerate("BCDE"):
        assert blocks[name] == [f"token {i}", "exited: 0"]


def test_fibonacci(jobs):
    blocks = by_process(run(jobs, "python", "fibonacci.py", "4"))
    assert blocks["A"] == ["spawned: B", "spawned: C", "fibonacci(4) = 3", "exited: 0"]
    assert len(blocks) == 9 and sum(len(b) == 3 for b in blocks.values()) == 3
    assert all(block[-1] == "exited: 0" for block in blocks.values())


def test_fork_join(jobs):
    blocks = by_process(run(jobs, "python", "fork_join.py", "3"))
    assert blocks["A"] == [
        "spawned: B",
        "spawned: C",
        "spawned: D",
        "3 processes found 499999500000",
        "exited: 0",
    ]
    assert blocks["B"] == blocks["C"] == blocks["D"] == ["exited: 0"]


def test_all_to_all(jobs):
    blocks = by_process(run(jobs, "python", "all_to_all.py", "4"))
    assert blocks["A"] == [*(f"spawned: {x}" for x in "BCDE"), "12 messages among 4 processes", "exited: 0"]


def test_process_pool(jobs):
    blocks = by_process(run(jobs, "python", "process_pool.py", "3"))
    squares = [x * x for x in range(10)]
    assert blocks["A"] == ["spawned: B", "spawned: C", "spawned: D", f"squares: {squares}", "exited: 0"]


def test_stream_arrays(jobs):
    blocks = by_process(run(jobs, "python", "stream_arrays.py", "60"))
    assert blocks["A"][-2:] == ["60 frames came through, 60 of them right", "exited: 0"]


def test_async_fanin(jobs):
    blocks = by_process(run(jobs, "python", "async_fanin.py", "3"))
    assert blocks["A"] == [
        *(f"spawned: {x}" for x in "BCDE"),
        "3 sensors, totals [30, 30, 30]",
        "one sensor says nothing",
        "exited: 0",
    ]


def test_select_timeout(jobs):
    blocks = by_process(run(jobs, "python", "select_timeout.py", "5"))
    assert blocks["A"] == [
        "spawned: B",
        "spawned: C",
        "5 jobs done: [10, 20, 30, 40, 50]",
        "nothing more in 0.1 s",
        "exited: 0",
    ]


def test_heat(jobs):
    blocks = by_process(run(jobs, "python", "heat.py", "3"))
    assert blocks["A"][-2:] == ["3 strips, 200 steps: as in one piece: True", "exited: 0"]


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_every_example_says_how_to_run_it_and_compiles(name):
    text = (EXAMPLES / name).read_text()
    assert f"python {name}" in text.split('"""')[1]
    subprocess.run([sys.executable, "-m", "py_compile", EXAMPLES / name], check=True)
