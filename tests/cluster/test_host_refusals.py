"""What keeps a host from taking part, which cmpirun says before anything starts."""

import pathlib
import re
import shutil
import sys
import time

import pytest

import cmpi
from tests.cluster.programs import HOSTS, THREE, WORLD, silent


def test_ranks_fill_one_host_after_another_and_are_one_world(on_hosts):
    for n, hosts in ((2, "h1 h1"), (4, "h1 h1 h2 h2"), (7, "h1 h1 h2 h2 h3 h3 h1")):
        result = on_hosts.job(WORLD, options=(*THREE, "-n", str(n)))
        assert result.out.split() == [*hosts.split(), str(n * (n - 1) // 2), str(n)], result
        assert result.code == 0 and silent(result), result
    for host in HOSTS:
        assert "hydra" not in on_hosts.hosts.call(host, "ls", "/tmp")


def test_faults_of_all_hosts_are_reported_before_anything_starts(on_hosts, jobs):
    hosts = jobs.folder / "wrong.hosts"
    hosts.write_text(
        "h1 slots=2\n"
        "h2 python=/no/such/python\n"
        "h3 python=/usr/bin/true\n"
        "no-such-host.invalid\n"
        "10.83.0.77\n"  # an address that no host has
    )
    begin = time.monotonic()
    result = on_hosts.run("--hostfile", str(hosts), "-n", "2", "touch", str(jobs.folder / "started"))
    assert result.code == 2 and time.monotonic() - begin < 15, result
    for expected in (
        "h2: has no Python at /no/such/python. Try: ssh h2 ls -l /no/such/python",
        "h3: the agent did not start (exit code 0)",
        "no-such-host.invalid: there is no host of this name. Try: getent hosts no-such-host.invalid",
        "10.83.0.77: cannot be reached. Try: ping 10.83.0.77",
    ):
        assert expected in result.err, result
    assert "4 of the hosts cannot take part" in result.err and not (jobs.folder / "started").exists()


def test_one_host_under_two_names_and_a_changed_key_are_named(on_hosts, jobs):
    two = on_hosts.run("--host", "h1,10.83.0.1,h2,10.83.0.2", "hostname")
    assert two.code == 2 and two.out == "", two
    assert "10.83.0.1: is the same host as h1. Name it once, with the slots of both" in two.err
    assert "10.83.0.2: is the same host as h2." in two.err and "2 of the hosts cannot take part" in two.err
    known = jobs.folder / "known_hosts"
    stranger = (on_hosts.hosts.folder / "stranger_key.pub").read_text().split()
    known.write_text(f"# the lab\nh2 {stranger[0]} {stranger[1]}\n")
    changed = on_hosts.run("--host", "h2", "--ssh", f"ssh -o UserKnownHostsFile={known}", "hostname")
    assert f"h2: its host key has changed (see line 2 of {known})" in changed.err, changed


def test_another_checkout_of_the_same_version_is_named(on_hosts, jobs):
    package = pathlib.Path(cmpi.__file__).parent
    other = jobs.folder / "other"
    shutil.copytree(package, other / "cmpi", ignore=shutil.ignore_patterns("__pycache__", "bench"))
    with open(other / "cmpi" / "errors.py", "a") as file:
        file.write("# thirty commits older\n")
    python = jobs.folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={other} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    hosts = jobs.folder / "two.hosts"
    hosts.write_text(f"h1\nh2 python={python}\n")
    result = on_hosts.run("--hostfile", str(hosts), "hostname")
    assert result.code == 2 and result.out == "", result
    found = re.search(
        r"h2: has cmpi \S+, code (\w{8}); this host has \S+, code (\w{8}). Install the same on both",
        result.err,
    )
    assert found and found[1] != found[2], result


ALLOCATIONS = {
    "PBS_NODEFILE": ("PBS_JOBID", "h1\nh1\nh3\n"),
    "LSB_DJOB_HOSTFILE": ("LSB_JOBID", "h1\nh1\nh3\n"),
    "PE_HOSTFILE": ("JOB_ID", "h1 2 all.q@h1 UNDEFINED\nh3 1 all.q@h3 UNDEFINED\n"),
}


@pytest.mark.parametrize("variable", ALLOCATIONS)
def test_a_job_uses_the_hosts_that_another_scheduler_has_allocated(on_hosts, jobs, variable):
    job, text = ALLOCATIONS[variable]
    (jobs.folder / "nodes").write_text(text)
    variables = {job: "7", variable: str(jobs.folder / "nodes")}
    script = """
import os, cmpi
cmpi.init()
print(os.environ["RANK"], os.uname().nodename, cmpi.capacity().total.cpus)
"""
    result = on_hosts.job(script, options=("--output", "plain", "-n", "3"), env=variables)
    assert sorted(result.out.splitlines()) == ["0 h1 3.0", "1 h1 3.0", "2 h3 3.0"], result


def test_a_refused_ssh_key_is_reported(on_hosts):
    key = on_hosts.hosts.folder / "stranger_key"
    known = on_hosts.hosts.folder / "known_hosts"
    ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known}"
    result = on_hosts.run("--host", "h2:2", "--ssh", ssh, "hostname")
    assert result.code == 2 and "h2: refuses your key. Try: ssh-copy-id h2" in result.err, result


def test_a_host_can_have_its_own_python_folder_and_memory_limit(on_hosts, jobs):
    other = jobs.folder / "elsewhere"
    other.mkdir()
    text = "import os; print(os.uname().nodename, os.getcwd())"
    hosts = jobs.folder / "some.hosts"
    hosts.write_text(f"h1 slots=1\nh2 slots=1 workdir={other} cpus=0.5\n")
    options = ("--hostfile", str(hosts), "--output", "plain", "-n", "2")
    result = on_hosts.run(*options, "python", "-c", text)
    assert sorted(result.out.splitlines()) == [f"h1 {jobs.folder}", f"h2 {other}"], result
    ask = "import cmpi; cmpi.init(); print(cmpi.capacity().total.cpus)"
    result = on_hosts.run(*options[:4], "python", "-c", ask)
    cores = float(on_hosts.hosts.call("h1", "nproc"))
    assert float(result.out) == cores + 0.5, result


def test_a_wrong_or_missing_hostfile_is_named(on_hosts, jobs):
    result = on_hosts.run("--hostfile", "nowhere.hosts", "hostname")
    assert result.code == 2 and "nowhere.hosts: No such file" in result.err, result
    (jobs.folder / "bad.hosts").write_text("h1 slots=2\nh2 slot=3\n")
    result = on_hosts.run("--hostfile", "bad.hosts", "hostname")
    assert result.code == 2 and "bad.hosts:2: unknown setting 'slot=3'" in result.err, result
    (jobs.folder / "few.hosts").write_text("h1 max_slots=1\nh2 max_slots=1\n")
    result = on_hosts.run("--hostfile", "few.hosts", "-n", "3", "hostname")
    assert result.code == 2 and "the hosts accept at most 2: h1 1, h2 1" in result.err, result


def test_a_missing_folder_to_send_is_named(on_hosts):
    result = on_hosts.run(*THREE, "--ship", "nowhere", "hostname")
    assert result.code == 2 and "nowhere: no such folder" in result.err, result
