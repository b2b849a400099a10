"""Granted resources have an effect: memory, CPU and threads."""

import json
import os
import re

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import cmpi, os, sys, time
from cmpi import Receiver, Resources, Sender, spawn, wait
def hog(parent, mib):
    data = bytearray(mib << 20)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(3)
"""


def test_only_the_process_that_exceeds_its_memory_is_killed(job):
    result = job(
        PRELUDE
        + """
p = spawn(hog, 400, resources=Resources(memory="150 MiB"))
q = spawn(lambda parent: time.sleep(1), resources=Resources(memory="150 MiB"))
print(wait(p)); print(wait(q))
""",
        options=("--strict",),
    )
    first, second = result.out.splitlines()
    pattern = r"signal 9 \(SIGKILL\): out of memory: asked 150 MiB, used [\d.]+ [MG]iB at \d\d:\d\d:\d\d"
    assert re.fullmatch(pattern, first) and second == "0", result
    assert "failed: out of memory: asked 150 MiB" in result.err and result.code == 137, result


def test_memory_of_child_processes_counts_too(job):
    result = job(
        PRELUDE
        + """
import subprocess
def parent_of_hog(parent):
    hog = "x = bytearray(400 << 20); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep(30)"
    subprocess.run([sys.executable, "-c", hog], start_new_session=True)
print(wait(spawn(parent_of_hog, resources=Resources(memory="150 MiB"))).verdict[:13])
"""
    )
    assert result.out == "out of memory\n", result


@pytest.mark.parametrize(
    "options, code, warnings", [(("--enforce", "warn"), 0, 1), (("--enforce", "none"), 0, 0)]
)
def test_enforce_decides_what_happens_beyond_the_requested_memory(job, options, code, warnings):
    result = job(
        PRELUDE
        + """
pids = [spawn(hog, 300, resources=Resources(memory="100 MiB")) for _ in range(2)]
pids.append(spawn(hog, 301))
for p in pids: wait(p)
""",
        options=options,
    )
    assert result.code == code, result
    assert len(re.findall("hog at .*: memory: asked 100 MiB, used", result.err)) == warnings, result


def test_a_spinning_sixteenth_of_a_core_leaves_its_neighbour_nearly_all(job):
    # On one core, so that they must share it; measured in CPU time, so that other processes do no harm.
    text = """
def spin(parent, core):
    os.sched_setaffinity(0, [core])
    Sender(parent).send(0)
    start = Receiver(parent).recv()
    while time.monotonic() < start: pass
    before = time.thread_time()
    while time.monotonic() < start + 2: pass
    Sender(parent, name="cpu").send(time.thread_time() - before)
core = min(os.sched_getaffinity(0))
pids = [spawn(spin, core, resources=Resources(cpus=c)) for c in (1 / 16, 0.9)]
for p in pids: Receiver(p).recv()
start = time.monotonic() + 0.5
for p in pids: Sender(p).send(start)
small, large = (Receiver(p, name="cpu").recv() for p in pids)
print(large / small)
"""
    result = job(PRELUDE + text)
    assert float(result.out) > 6, "a share of 1 to 14 was asked for"


def test_whole_cores_are_bound_and_threads_follow_the_grant(job):
    text = """
def child(parent):
    import numpy as np
    found = [os.environ[n] for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
    grandchild = spawn(lambda parent: print(os.environ["OMP_NUM_THREADS"], flush=True))
    wait(grandchild)
    np.ones((300, 300)) @ np.ones((300, 300))
    print(len(os.sched_getaffinity(0)), *found, len(os.listdir("/proc/self/task")), flush=True)
for cpus in (1, 2, 0.5): wait(spawn(child, resources=Resources(cpus=cpus)))
"""
    result = job(PRELUDE + text, options=("--cpus", "4"))
    lines = [line.split() for line in result.out.splitlines()]
    all_cores = str(len(os.sched_getaffinity(0)))
    assert [line[:3] for line in lines[1::2]] == [
        ["1", "1", "1"],
        ["2", "2", "2"],
        [all_cores, "1", "1"],
    ], result
    assert lines[::2] == [["1"]] * 3, "a child has a grant of its own"
    one, two, half = (int(line[3]) for line in lines[1::2])
    assert two == one + 1 and half == one, "of numpy's library too"


def test_the_users_own_number_of_threads_is_kept(job):
    text = 'wait(spawn(lambda parent: print(os.environ["OMP_NUM_THREADS"]), resources=Resources(cpus=1)))'
    assert job(PRELUDE + text, env={"OMP_NUM_THREADS": "3"}).out == "3\n"


def test_the_events_show_used_resources(jobs):
    script = jobs.script(PRELUDE + 'wait(spawn(hog, 200, resources=Resources(0.5, "1 GiB")))')
    result = jobs.run("cmpirun", "--output", "json", "python", script)
    exits = [e for e in map(json.loads, result.out.splitlines()) if e["event"] == "exit"]
    hog = next(e for e in exits if e["granted_bytes"] == 1 << 30)
    assert 200 << 20 < hog["peak_bytes"] < 400 << 20 and hog["cpu_s"] > 0 and hog["granted_cpus"] == 0.5
