"""Ending everything that a process has started; tested in a process of its own, which is a subreaper."""

import os
import subprocess
import sys

FOREIGN = """
import os, subprocess, sys
from cmpi._runtime.linux import descendants
descendants.adopt_orphans()
ours = subprocess.Popen(["sleep", "300"])
theirs = subprocess.Popen(["sleep", "301"])
kill = os.kill
def guarded(pid, number):
    if pid == theirs.pid: raise PermissionError(1, "Operation not permitted")
    kill(pid, number)
os.kill = guarded
print(descendants.end_all().replace(str(theirs.pid), "PID"))
os.kill = kill
print(repr(descendants.end_all()), descendants.have_children())
"""


def test_processes_of_another_user_are_named_and_all_others_are_ended():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], env=environment, capture_output=True, text=True, timeout=30
    )
    first = "cannot end processes that run as another user: PID (sleep 301); they are still running"
    assert done.stdout.splitlines() == [first, "'' False"], done.stderr
