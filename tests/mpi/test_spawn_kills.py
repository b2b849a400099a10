"""Spawns go on while what makes them possible is killed: each succeeds, or fails with a reason."""

import pytest

from tests.mpi.conftest import mpi_kind

pytestmark = pytest.mark.slow

PRELUDE = """
import os, random, signal, sys, threading
import cmpi
MARK = os.environ["MARK_OF_TEST_JOB"].encode()
def table():
    "This job's processes: the command line and the parent of each."
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/environ", "rb") as a, open(f"/proc/{pid}/cmdline") as b:
                mine, command = MARK in a.read(), b.read()
            with open(f"/proc/{pid}/stat") as c:
                state, parent = c.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if mine and state != "Z": found[pid] = command, int(parent)
    return found
def parts(kind):
    "The pids of all parts of this kind. What is forked from the fork server keeps its command line."
    found = table()
    forked = {pid for pid, (command, _) in found.items() if "fork_server:main" in command}
    ours = {pid for pid, (command, _) in found.items() if "root/main.py" in command}
    servers = {pid for pid in forked if found[pid][1] in ours}
    monitors = {pid for pid in forked if found[pid][1] in servers}
    if kind == "monitor": return monitors
    if kind == "process": return {pid for pid in forked if found[pid][1] in monitors}
    if kind == "fork server": return servers
    # Only those that have said that they are there: without that, nobody could complete MPI_Comm_spawn.
    stubs = {pid: command for pid, (command, _) in found.items() if "spawn_stub" in command}
    servers = {pid: command.split(chr(0))[-2] for pid, command in stubs.items()}
    return {
        pid for pid, server in servers.items()
        if server.endswith("/fork") and os.path.exists(f"{server[:-5]}/{pid}.pid")
    }
ended, failed = [], []
def spawn_many(n):
    for _ in range(n):
        p = cmpi.spawn(lambda parent: None, resources=cmpi.Resources())
        status = cmpi.wait(p, timeout=60)
        (failed if status.code else ended).append(status)
def spawn_and_kill(kinds, seed, threads=3, each=20):
    "Kill parts at random until each thread has spawned this many."
    choice = random.Random(seed)
    spawning = [threading.Thread(target=spawn_many, args=[each]) for _ in range(threads)]
    for thread in spawning: thread.start()
    killed = 0
    while any(thread.is_alive() for thread in spawning):
        if victims := sorted(parts(choice.choice(kinds))):
            try: os.kill(choice.choice(victims), signal.SIGKILL)
            except ProcessLookupError: continue
            killed += 1
        spawning[0].join(choice.random() / 4)
    assert len(ended) + len(failed) == threads * each, (len(ended), len(failed))
    assert all(status.signal or status.verdict for status in failed), failed
    return killed
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_spawns_survive_the_killing_of_slots_and_their_monitors(job, seed):
    kinds = ["monitor", "process"]
    if mpi_kind() == "openmpi":  # Hydra ends the job when a process dies that has not left it in order
        kinds.append("stub")
    text = f"""
print(spawn_and_kill({kinds!r}, {seed}) > 0)
ended.clear()
while len(ended) < 5:  # nothing is killed any more; a process that was killed before may still be chosen
    failed.clear()
    spawn_many(1)
    if failed: ended.clear()
"""
    result = job(PRELUDE + text, timeout=170)
    assert (result.code, result.out) == (0, "True\n"), result


@pytest.mark.parametrize("when", ["before it is up", "while slots change hands"])
def test_spawns_go_on_by_exec_when_the_fork_server_is_killed(job, when):
    text = f"""
def kill():
    while not (servers := parts("fork server")): pass
    os.kill(servers.pop(), signal.SIGKILL)
if {when!r} == "before it is up":
    killer = threading.Thread(target=kill)
    killer.start()
    spawn_many(10)
    killer.join()
else:
    spawn_and_kill(["fork server"], 1)
def tell(parent): cmpi.Sender(parent).send(open("/proc/self/cmdline").read())
spawn_many(5)
print(len(failed), "worker" in cmpi.Receiver(cmpi.spawn(tell)).recv())
"""
    result = job(PRELUDE + text, timeout=170)
    assert (result.code, result.out) == (0, "0 True\n"), result
    assert result.err.count("no fork server on ") == 1, result
