"""Processes of other users, which a program has started by sudo or su, at the end of the job."""

import os
import shutil

import pytest

USER = 65534
PRELUDE = """
import cmpi, os, subprocess, sys, time
def becomes(uid, *command): return [{setpriv!r}, f"--reuid={{uid}}", *command]
def wait_for(pid, uid):
    while f"Uid:\\t{{uid}}\\t" not in open(f"/proc/{{pid}}/status").read(): time.sleep(0.01)
def starts(parent, uid):
    wait_for(subprocess.Popen(becomes(uid, "sleep", "300")).pid, uid)
"""


@pytest.fixture
def setpriv(jobs):
    """A program that becomes another user, as sudo does, whoever runs it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NOT TESTED: this needs setpriv, and root to give it the rights of sudo")
    copy = shutil.copy(shutil.which("setpriv"), jobs.folder / "setpriv")
    os.chmod(copy, 0o4755)
    return copy


@pytest.fixture
def prelude(setpriv):
    return PRELUDE.format(setpriv=str(setpriv))


def test_nothing_is_left_of_other_users_children_of_roots_job(job, prelude):
    text = f"""
starts(None, {USER})
print([cmpi.wait(cmpi.spawn(starts, {USER})).code for _ in range(2)])
"""
    result = job(prelude + text)
    assert (result.code, result.out, result.err) == (0, "[0, 0]\n", "")


@pytest.mark.slow
def test_an_ordinary_users_job_ends_and_names_children_that_it_cannot_end(as_user, jobs, prelude):
    result = as_user(USER, prelude + "starts(None, 0); print(cmpi.wait(cmpi.spawn(starts, 0)))")
    assert (result.code, result.out) == (0, "0\n"), result
    last = result.err.splitlines()[-1]
    assert last.startswith("cmpirun: cannot end processes that run as another user: "), result
    assert last.count("(sleep 300)") == 2 and "PermissionError" not in result.err
    left = jobs.leftovers()  # which ends them
    assert len(left) == 2 and all("'sleep', '300'" in line for line in left)


@pytest.mark.slow
def test_a_process_that_cannot_be_killed_counts_as_killed(as_user, jobs, prelude):
    text = """
def execs(parent):
    cmpi.Sender(parent).send(os.getpid())
    command = becomes(0, "sleep", "300")
    os.execv(command[0], command)
pid = cmpi.spawn(execs)
wait_for(cmpi.Receiver(pid).recv(), 0)
cmpi.kill(pid)
print(cmpi.wait(pid))
print(cmpi.wait(cmpi.spawn(lambda parent: None)))
"""
    result = as_user(USER, prelude + text)
    assert (result.code, result.out.splitlines()) == (0, ["signal 9 (SIGKILL), as requested", "0"]), result
    assert "cmpirun: cannot end processes that run as another user: " in result.err, result
    assert len(jobs.leftovers()) == 1
