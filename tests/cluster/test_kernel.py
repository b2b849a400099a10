"""Limits that the kernel enforces, tested in a kernel of its own (User-Mode Linux), where cgroups of
version 2 can be created whatever the machine's own kernel allows."""

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


KERNEL = ("linux.uml", "mem=1500M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet")


def boot(jobs, init, **kwargs):
    """Boot a kernel with this script as its first process; return what it prints."""
    path = jobs.script(init, "init")
    os.chmod(path, 0o755)
    console = ("con=null", "con0=null,fd:1", "con1=null", f"uml_dir={jobs.folder}", f"init={path}")
    return jobs.run(*KERNEL, *console, **kwargs).out.replace("\r", "")


@pytest.mark.timeout(600)  # it takes 70 s on two cores with nothing beside it
def test_a_kernel_with_cgroups_enforces_the_limits(jobs):
    if not shutil.which("linux.uml"):
        pytest.skip("NOT TESTED: there is no User-Mode Linux (apt-get install user-mode-linux)")
    up = boot(
        jobs, "#!/bin/sh\nmount -t sysfs sys /sys; mount -t cgroup2 c /sys/fs/cgroup; echo UP; halt -f\n"
    )
    if "UP\n" not in up:
        pytest.skip(f"NOT TESTED: User-Mode Linux does not run here: {up[-500:]}")
    with open(jobs.folder / "big", "wb") as file:
        file.truncate(300 << 20)
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    out = boot(
        jobs,
        INIT.format(folder=jobs.folder, path=path, root=ROOT, python=sys.executable),
        timeout=400,
    )
    assert "CODE 0\n" in out, out
