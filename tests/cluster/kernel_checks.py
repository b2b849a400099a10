"""Checks of what holds if cgroups of version 2 can be created. `test_kernel.py` runs this file as root in a
kernel of its own, in which everything takes twenty times as long; so one job does most of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.mpi.conftest import Jobs

TOP = "/sys/fs/cgroup"
SLICE = f"{TOP}/user.slice"
SCOPE = f"{SLICE}/session.scope"
ASKED, BOUND = "64 MiB", "144 MiB"
PATIENCE_S = 120
PRELUDE = """
import cmpi, json, os, signal, subprocess, sys, time
from cmpi import Receiver, Resources, Sender, spawn, wait
def asking(f, *args, **cpus):
    return spawn(f, *args, resources=Resources(memory="64 MiB", **cpus))
def touch(mib):
    data = bytearray(mib << 20)
    data[::4096] = b"x" * len(data[::4096])
    return data
def where():
    return next(l for l in open("/proc/self/cgroup") if l.startswith("0:")).strip()[3:]
def moved():
    end = time.monotonic() + 20
    while "cmpi-" not in where() and time.monotonic() < end: time.sleep(0.01)
    return where()
"""


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def ours(place):
    return [name for name in os.listdir(place) if name.startswith("cmpi-")]


def nothing_left(place):
    end = time.monotonic() + PATIENCE_S
    while ours(place) and time.monotonic() < end:
        time.sleep(0.05)
    return not ours(place)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    yield jobs
    jobs.close()


@pytest.fixture(scope="module")
def session(jobs):
    """From here on, this process's cgroup is like those that systemd makes for users."""
    os.makedirs(SCOPE)
    for folder in (TOP, SLICE):
        write(f"{folder}/cgroup.subtree_control", "+memory +cpu +pids")
    write(f"{SCOPE}/pids.max", "999")
    write(f"{SCOPE}/cgroup.procs", str(os.getpid()))


def run(jobs, text, *options):
    script = jobs.script(PRELUDE + text)
    return jobs.run("cmpirun", "--output", "plain", *options, "python", script, timeout=PATIENCE_S)


def test_a_cgroup_is_made_at_the_top_and_removed(jobs):
    result = run(jobs, "print(Receiver(asking(lambda parent: Sender(parent).send(moved()))).recv())")
    assert re.fullmatch(r"/cmpi-[0-9a-f]{12}\.slot-\d+\.1\n", result.out) and nothing_left(TOP), result


@pytest.fixture(scope="module")
def seen(jobs, session):
    """What the processes of one job reported, by name; with its exit code as `code`, and its stderr."""
    text = """
def blind_monitor(parent):
    Sender(parent).send((os.getpid(), os.getppid()))
    moved(); os.kill(os.getppid(), signal.SIGSTOP)
def burst(parent):
    blind_monitor(parent)
    touch(400)
def parent_of_burst(parent):
    blind_monitor(parent)
    subprocess.run([sys.executable, "-c", "x = b'x' * (400 << 20)"], start_new_session=True)
    time.sleep(60)
def of_blind(p):
    pid, monitor = Receiver(p).recv()
    end = time.monotonic() + 60
    while open(f"/proc/{pid}/stat").read().split()[2] != "Z" and time.monotonic() < end: time.sleep(0.05)
    os.kill(monitor, signal.SIGCONT)
    return str(wait(p))
def grow(parent):
    kept = []
    while True: kept.append(touch(1)); time.sleep(0.05)
def read(parent):
    moved()
    with open(os.environ["BIG_FILE"], "rb") as file:
        while file.read(1 << 20): pass
def place(parent):
    folder = "/sys/fs/cgroup" + moved()
    Sender(parent).send((os.path.dirname(folder), open(folder + "/pids.max").read().strip()))
def spin(parent):
    moved(); Sender(parent).send(0); Receiver(parent).recv()
    before, start = time.thread_time(), time.monotonic()
    while time.monotonic() < start + 3: pass
    Sender(parent, name="cpu").send(time.thread_time() - before)
def unasked(parent): time.sleep(1); Sender(parent).send(where())
seen = {}
other = asking(lambda parent: Receiver(parent).recv())
seen["burst"] = of_blind(asking(burst))
seen["parent of burst"] = of_blind(asking(parent_of_burst))
seen["grow"] = str(wait(asking(grow)))
seen["read"] = str(wait(asking(read)))
seen["place"] = Receiver(asking(place)).recv()
seen["unasked"] = Receiver(spawn(unasked)).recv()
pids = [asking(spin, cpus=c) for c in (1 / 16, 0.9)]
for p in pids: Receiver(p).recv()
for p in pids: Sender(p).send(0)
seen["cpu"] = [Receiver(p, name="cpu").recv() for p in pids]
Sender(other).send(0); seen["other"] = str(wait(other))
print(json.dumps(seen))
"""
    result = run(jobs, text, "--strict", "--cpus", "4")  # this kernel has one core
    assert result.out, result
    assert nothing_left(SLICE)
    return json.loads(result.out) | {"code": result.code, "stderr": result.err}


def test_the_kernel_stops_a_burst_of_memory_and_no_other_process_is_harmed(seen):
    pattern = rf"signal 9 \(SIGKILL\): out of memory: asked {ASKED}, used {BOUND} at \d\d:\d\d:\d\d"
    assert re.fullmatch(pattern, seen["burst"]) and seen["other"] == "0" and seen["code"] == 137, seen
    assert f"failed: out of memory: asked {ASKED}, used {BOUND}" in seen["stderr"], seen


def test_a_processs_child_programs_count_and_end_with_it(seen):
    assert f"out of memory: asked {ASKED}, used {BOUND}" in seen["parent of burst"], seen


def test_the_monitor_notices_slow_growth_of_memory(seen):
    used = re.search(rf"asked {ASKED}, used ([\d.]+) MiB", seen["grow"])
    assert used and 64 <= float(used[1]) < 144, seen


def test_the_page_cache_does_not_count_as_memory(seen):
    assert seen["read"] == "0", seen


def test_only_processes_with_a_memory_limit_get_their_own_cgroup(seen):
    assert seen["place"] == [SLICE, "999"], "beside the session, with its number of processes"
    assert seen["unasked"] == SCOPE.removeprefix(TOP), seen


def test_a_sixteenth_of_a_core_leaves_its_neighbour_nearly_all(seen):
    small, large = seen["cpu"]
    assert large / small > 3, (
        "a share of 1 to 14 was asked for; on a busy machine the kernel keeps it roughly"
    )


def test_a_killed_monitor_and_a_killed_cmpirun_leave_no_cgroup(jobs, session):
    text = """
def sit(parent): Sender(parent).send((moved(), os.getppid())); time.sleep(60)
p = asking(sit)
os.kill(Receiver(p).recv()[1], 9); wait(p)
Receiver(asking(sit)).recv()
print("ready", flush=True)
time.sleep(60)
"""
    running = jobs.start("cmpirun", "--output", "plain", "python", jobs.script(PRELUDE + text))
    assert running.stdout.readline() == b"ready\n"
    assert len(ours(SLICE)) >= 1
    running.send_signal(signal.SIGKILL)
    running.wait(PATIENCE_S)
    assert nothing_left(SLICE)


def doctor(**kwargs):
    look = (
        "from cmpi.launcher.doctor import doctor;"
        "print(*(f.found for f in doctor._machine() if f.what == 'limits'))"
    )
    return subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, **kwargs).stdout


def test_monitors_enforce_limits_inside_a_bounded_cgroup(session):
    assert doctor().startswith("memory limits are enforced by the kernel")
    write(f"{SCOPE}/memory.max", str(900 << 20))
    assert doctor().startswith("memory limits are enforced by monitors")
    write(f"{SCOPE}/memory.max", "max")
    assert not ours(SLICE)


def test_an_ordinary_user_needs_a_cgroup_of_its_own(session):
    nobody = 65534
    assert doctor(user=nobody).startswith("memory limits are enforced by monitors")
    for path in (SLICE, f"{SLICE}/cgroup.procs", f"{SLICE}/cgroup.subtree_control"):
        os.chown(path, nobody, nobody)  # as systemd does for a user's own services
    assert doctor(user=nobody).startswith("memory limits are enforced by the kernel")
    assert not ours(SLICE)
