"""Limits that the kernel keeps, in a kernel of its own (User-Mode Linux): cgroups of version 2 can be made
there, whatever the machine's own kernel allows."""

import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run; mkdir /run/tmp
hostname kernel; ip link set lo up
export TMPDIR=/run/tmp HOME=/run BIG_FILE={folder}/big PYTHONDONTWRITEBYTECODE=1 PATH={path}
cd {root}
{python} -m pytest -q -p no:cacheprovider --color=no --basetemp /run/tmp/t tests/cluster/kernel_checks.py
echo CODE $?
halt -f
"""


def test_in_a_kernel_with_cgroups_the_kernel_keeps_the_limits(jobs):
    if not shutil.which("linux.uml"):
        pytest.skip("NOT TESTED: there is no User-Mode Linux (apt-get install user-mode-linux)")
    with open(jobs.folder / "big", "wb") as file:
        file.truncate(300 << 20)
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    init = jobs.script(INIT.format(folder=jobs.folder, path=path, root=ROOT, python=sys.executable), "init")
    os.chmod(init, 0o755)
    kernel = ("mem=1500M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet")
    console = ("con=null", "con0=null,fd:1", "con1=null", f"uml_dir={jobs.folder}", f"init={init}")
    result = jobs.run("linux.uml", *kernel, *console, timeout=400)
    assert "CODE 0\n" in result.out.replace("\r", ""), result
