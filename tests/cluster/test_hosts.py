"""Jobs on three hosts; cmpirun runs on the first (see hosts.py)."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import cmpi
from tests.mpi.conftest import mpi_kind

TMP = os.environ.get("TMPDIR", "/tmp")
HOSTS = ("h1", "h2", "h3")
THREE = ("--host", "h1:2,h2:2,h3:2", "--output", "plain")

WORLD = """\
import os, sys
import cmpi
from mpi4py import MPI
world = MPI.COMM_WORLD
names = world.gather(os.uname().nodename)
total = world.allreduce(world.rank)
if world.rank == 0:
    print(*names, total, len(set(cmpi.world())))
"""

PRELUDE = """\
import os, signal, sys, time
import numpy as np
import cmpi
from cmpi import PeerExited, Receiver, Resources, Sender
cmpi.init()
here = os.uname().nodename
whole = Resources(cpus=1)
HOSTS = ("h1", "h2", "h3")
def on_each_host(f, *arguments):
    "A process of f on each host; by host."
    pids = {host: cmpi.spawn(f, *arguments, resources=Resources(1, host=host)) for host in HOSTS}
    assert all(Receiver[str](pid, name="where").recv(timeout=20) == host for host, pid in pids.items())
    return pids
def say_where(parent):
    Sender[str](parent, name="where").send(os.uname().nodename)
"""


def came_up(job):
    line = job.stdout.readline()
    assert line == b"up\n", line + job.stdout.read() + job.stderr.read()


def end(job, jobs, number):
    """Send cmpirun a signal: `job` itself is the command that entered the host."""
    (cmpirun,) = [p for p in jobs.processes() if "cmpirun" in " ".join(p.cmdline()[:2])][:1]
    cmpirun.send_signal(number)
    return job.communicate(timeout=20)


def silent(result):
    """Whether cmpirun printed nothing except that it waits, as it does on a busy machine."""
    return all(line.startswith("cmpirun: waiting for ") for line in result.err.splitlines())


def test_ranks_fill_one_host_after_another_and_are_one_world(on_hosts):
    for n, hosts in ((2, "h1 h1"), (4, "h1 h1 h2 h2"), (7, "h1 h1 h2 h2 h3 h3 h1")):
        result = on_hosts.job(WORLD, options=(*THREE, "-n", str(n)))
        assert result.out.split() == [*hosts.split(), str(n * (n - 1) // 2), str(n)], result
        assert result.code == 0 and silent(result), result
    for host in HOSTS:
        assert "hydra" not in on_hosts.hosts.call(host, "ls", "/tmp")


def test_by_node_ranks_are_dealt_out(on_hosts):
    result = on_hosts.job(WORLD, options=(*THREE, "--map-by", "node", "-n", "4"))
    assert result.out.split()[:4] == ["h1", "h2", "h3", "h1"], result


def test_all_ranks_may_be_on_another_host(on_hosts):
    result = on_hosts.job(WORLD, options=("--host", "h3:2", "--output", "plain", "-n", "2"))
    assert result.out.split() == ["h3", "h3", "1", "2"] and result.code == 0, result


def test_programs_without_mpi_and_that_are_not_there(on_hosts):
    result = on_hosts.run(*THREE, "-n", "3", "hostname")
    assert sorted(result.out.split()) == ["h1", "h1", "h2"] and result.code == 0, result
    result = on_hosts.run(*THREE, "-n", "4", "no-such-program")
    assert result.code == 127 and "not found on PATH: no-such-program" in result.err, result


STREAMS = """
def echo(parent):
    say_where(parent)
    out = Sender[object](parent, name="out")
    for message in Receiver[object](parent, name="in"):
        out.send((os.uname().nodename, message))
    out.close()
pids = on_each_host(echo)
print(*sorted(pids))
for n in (1, 1000, 3_000_000):
    array = np.arange(n) * 1.5
    for host, pid in pids.items():
        if n == 1:
            pids[host] = (pid, Sender[object](pid, name="in"), Receiver[object](pid, name="out"))
        pid, to, back = pids[host]
        for i in range(3):
            to.send((i, array))
        for i in range(3):
            name, (number, came) = back.recv(timeout=20)
            assert name == host and number == i and np.array_equal(came, array)
for pid, to, back in pids.values():
    to.close()
    assert list(back) == []
    print(cmpi.wait(pid, timeout=10))
"""


def test_processes_are_spawned_on_all_hosts_and_arrays_stream_between_them(on_hosts):
    result = on_hosts.job(PRELUDE + STREAMS, options=THREE)
    assert result.out.splitlines() == ["h1 h2 h3", "0", "0", "0"], result
    assert result.code == 0 and silent(result), result


BETWEEN = """
def pair(parent):
    say_where(parent)
    other, first = Receiver[tuple](parent, name="other").recv()
    if first:
        with Sender[np.ndarray](other) as to:
            for i in range(20):
                to.send(np.full(100_000, i))
        Sender[int](parent).send(Receiver[int](other, name="sum").recv())
    else:
        Sender[int](other, name="sum").send(sum(int(a.sum()) for a in Receiver[np.ndarray](other)))
pids = on_each_host(pair)
a, b = pids["h2"], pids["h3"]
Sender[tuple](a, name="other").send((b, True))
Sender[tuple](b, name="other").send((a, False))
print(Receiver[int](a).recv(timeout=20), cmpi.wait(b, timeout=10))
cmpi.kill(pids["h1"])
"""


def test_two_spawned_processes_on_other_hosts_talk_to_each_other(on_hosts):
    result = on_hosts.job(PRELUDE + BETWEEN, options=THREE)
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_the_contract_of_a_link_holds_between_hosts(on_hosts, jobs, loss):
    hosts, root = on_hosts.hosts, pathlib.Path(__file__).parents[2]
    if loss:
        hosts.slow("h2", delay_s=0.002, loss=loss)
    argv = (sys.executable, "-m", "tests.transport.transport_contract", hosts.address("h2"))
    listens = jobs.start(*hosts.command("h2", *argv, cwd=root))
    port = listens.stdout.readline().decode().strip()
    dials = jobs.run(*hosts.command("h1", *argv, port, cwd=root), timeout=60)
    out, err = listens.communicate(timeout=10)
    assert (dials.code, dials.out, listens.returncode, out) == (0, "ok\n", 0, b"ok\n"), (dials, err)


def test_a_slow_network_that_loses_packets_changes_nothing_but_the_time(on_hosts):
    on_hosts.hosts.slow("h2", delay_s=0.05, loss=0.01)
    result = on_hosts.job(PRELUDE + BETWEEN, options=THREE, timeout=60)
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


CRASHES = """
def crash(parent, how):
    say_where(parent)
    to = Sender[bytes](parent)
    to.send(b"x" * 5_000_000)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    raise ValueError("on purpose")
for how in ("kill", "exit", "raise"):
    for host, pid in sorted(on_each_host(crash, how).items()):
        came = 0
        try:
            for message in Receiver[bytes](pid):
                came += len(message)
        except PeerExited as error:
            print(host, how, came, error.status.code)
        assert cmpi.wait(pid, timeout=5).code
"""


def test_a_crash_on_another_host_harms_nobody_and_is_an_error_to_its_peers(on_hosts):
    result = on_hosts.job(PRELUDE + CRASHES, options=THREE, timeout=60)
    lines = [line.split() for line in result.out.splitlines()]
    codes = {"kill": "137", "exit": "3", "raise": "1"}
    assert [(line[0], line[1], line[-1]) for line in lines] == [
        (host, how, codes[how]) for how in codes for host in ("h1", "h2", "h3")
    ], result
    # Messages that had left the process before its death have arrived, as on one host.
    assert all(line[2] == "5000000" for line in lines if line[1] == "raise"), result


LOSES = """
def wait_for_ever(parent):
    say_where(parent)
    Receiver[int](parent, name="never").recv()
pids = on_each_host(wait_for_ever)
victim = pids["h3"]
print("up", flush=True)
begin = time.monotonic()
try:
    Receiver[int](victim, name="answer").recv()
except PeerExited as error:
    print(error.status.code, error.status.verdict)
print("noticed after", round(time.monotonic() - begin, 1))
print("capacity", cmpi.capacity().total.cpus)
cmpi.kill(pids["h2"])
print(cmpi.wait(pids["h2"]).signal)
again = cmpi.spawn(say_where, resources=whole)
print("then on", Receiver[str](again, name="where").recv(timeout=20))
cmpi.kill(pids["h1"])
"""


@pytest.mark.parametrize("how", ["power_off", "cut"])
def test_a_lost_host_is_the_end_of_what_ran_there_and_of_nothing_else(on_hosts, jobs, how):
    timeout_s = {"power_off": "8", "cut": "3.5"}[how]
    options = ("--host-timeout", timeout_s) if how == "cut" else ()
    job = on_hosts.start(*THREE, *options, "python", jobs.script(PRELUDE + LOSES))
    came_up(job)
    getattr(on_hosts.hosts, how)("h3")
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert f"\n137 host lost: h3: nothing has come from it for {timeout_s} s\n" in f"\n{out}", out + err
    assert float(re.search(r"noticed after ([\d.]+)", out)[1]) < 13
    assert "then on h1" in out or "then on h2" in out
    assert job.returncode == 0 and "host h3 is lost" in err, out + err  # the program has dealt with it


def test_a_world_of_which_a_host_is_lost_ends_with_a_report_that_says_so(on_hosts, jobs):
    text = "import time; from mpi4py import MPI; print('up', flush=True); time.sleep(100)"
    script = jobs.script(text)
    job = on_hosts.start(*THREE, "-n", "6", "python", script)
    for _ in range(6):
        came_up(job)
    on_hosts.hosts.power_off("h2")
    begin = time.monotonic()
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert time.monotonic() - begin < 15
    assert job.returncode == 137 and "host lost: h2" in err and "host    h2" in err, out + err


def test_what_keeps_hosts_from_taking_part_is_said_of_all_at_once_before_anything_starts(on_hosts, jobs):
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
        r"h2: cmpi \S+, code (\w{8}); and \S+, code (\w{8}) here. Install the same on both", result.err
    )
    assert found and found[1] != found[2], result


ALLOCATIONS = {
    "PBS_NODEFILE": ("PBS_JOBID", "h1\nh1\nh3\n"),
    "LSB_DJOB_HOSTFILE": ("LSB_JOBID", "h1\nh1\nh3\n"),
    "PE_HOSTFILE": ("JOB_ID", "h1 2 all.q@h1 UNDEFINED\nh3 1 all.q@h3 UNDEFINED\n"),
}


@pytest.mark.parametrize("variable", ALLOCATIONS)
def test_in_an_allocation_of_another_scheduler_a_job_uses_what_was_given(on_hosts, jobs, variable):
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


FLUX = """#!/bin/sh
[ "$*" = "resource R" ] && echo '{"version": 1, "execution": {"nodelist": ["h[1,3]"], "R_lite": [
{"rank": "0", "children": {"core": "0-1"}}, {"rank": "1", "children": {"core": "0"}}]}}'
"""
KUBEXEC = '#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n{}/kubectl exec ${{POD_NAME}} -- /bin/sh -c "$*"\n'
KUBECTL = """#!/bin/bash
[ "$1 $2 $4" = "exec -i --" ] || exit 9
exec ssh -T "$3" "$(printf '%q ' "${@:5}")"
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_in_flux_and_under_the_mpi_operator_too(on_hosts, jobs):
    bin = jobs.folder / "bin"
    bin.mkdir()
    executable(bin / "flux", FLUX)
    variables = {"FLUX_URI": "local:///run/flux/local", "PATH": f"{bin}:{jobs.environment['PATH']}"}
    script = "import os; print(os.environ['RANK'], os.uname().nodename)"
    result = on_hosts.job(script, options=("--output", "plain", "-n", "3"), env=variables)
    assert sorted(result.out.splitlines()) == ["0 h1", "1 h1", "2 h3"], result
    executable(bin / "kubectl", KUBECTL)
    agent = executable(bin / "kubexec.sh", KUBEXEC.format(bin))
    (jobs.folder / "hostfile").write_text("h2 slots=1\nh3 slots=1\n")
    variables = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "OMPI_MCA_plm_rsh_agent": agent,
        "OMPI_MCA_orte_default_hostfile": str(jobs.folder / "hostfile"),
    }
    result = on_hosts.job(script, options=("--output", "plain", "-n", "2"), env=variables)
    assert sorted(result.out.splitlines()) == ["0 h2", "1 h3"], result


def test_a_key_that_is_refused_is_said_to_be(on_hosts):
    key = on_hosts.hosts.folder / "stranger_key"
    known = on_hosts.hosts.folder / "known_hosts"
    ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known}"
    result = on_hosts.run("--host", "h2:2", "--ssh", ssh, "hostname")
    assert result.code == 2 and "h2: refuses your key. Try: ssh-copy-id h2" in result.err, result


def test_a_host_may_have_another_python_folder_and_limit(on_hosts, jobs):
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


def test_a_hostfile_that_is_wrong_or_not_there_is_named(on_hosts, jobs):
    result = on_hosts.run("--hostfile", "nowhere.hosts", "hostname")
    assert result.code == 2 and "nowhere.hosts: No such file" in result.err, result
    (jobs.folder / "bad.hosts").write_text("h1 slots=2\nh2 slot=3\n")
    result = on_hosts.run("--hostfile", "bad.hosts", "hostname")
    assert result.code == 2 and "bad.hosts:2: unknown setting 'slot=3'" in result.err, result
    (jobs.folder / "few.hosts").write_text("h1 max_slots=1\nh2 max_slots=1\n")
    result = on_hosts.run("--hostfile", "few.hosts", "-n", "3", "hostname")
    assert result.code == 2 and "the hosts accept at most 2: h1 1, h2 1" in result.err, result


SLEEPS = (
    PRELUDE
    + """
def sleep(parent):
    say_where(parent)
    time.sleep(100)
on_each_host(sleep)
print("up", flush=True)
time.sleep(100)
"""
)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_an_end_from_outside_is_the_end_on_all_hosts(on_hosts, jobs, number, code):
    job = on_hosts.start(*THREE, "python", jobs.script(SLEEPS))
    came_up(job)
    begin = time.monotonic()
    end(job, jobs, number)
    assert job.returncode in (code, 128 - code) and time.monotonic() - begin < 10


def test_an_agent_that_is_killed_is_a_lost_host_at_once(on_hosts, jobs):
    job = on_hosts.start(*THREE, "python", jobs.script(PRELUDE + LOSES))
    came_up(job)
    on_hosts.hosts.call(
        "h3", "pkill", "-9", "-o", "-f", "cmpi.launcher.hosts.agent_main"
    )  # not the agent's guardian
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert re.search(r"^137 host lost: h3: the connection by ssh has ended", out, re.M), out + err
    assert float(re.search(r"noticed after ([\d.]+)", out)[1]) < 3, out


HINTS = """
def where(resources):
    return Receiver[str](cmpi.spawn(say_where, resources=resources), name="where").recv(timeout=20)
def stay(parent):
    say_where(parent)
    Receiver[int](parent, name="end").recv()
print(where(Resources(cpus=1, host="h3")))
mate = cmpi.spawn(stay, resources=Resources(cpus=0.5, host="h2"))
print(Receiver[str](mate, name="where").recv(timeout=20), where(Resources(cpus=1, near=mate)))
print(where(Resources(cpus=0.25, place="pack")))
try:
    where(Resources(host="h9"))
except cmpi.NeverFits as error:
    print(error)
cmpi.kill(mate)
"""


def test_a_spawn_may_say_which_host_it_wants(on_hosts):
    result = on_hosts.job(PRELUDE + HINTS, options=THREE)
    assert result.out.splitlines() == [
        "h3",
        "h2 h2",
        "h2",
        "asked for host h9; those of this job are h1, h2, h3",
    ], result


def test_the_plan_is_shown_and_nothing_is_run(on_hosts, jobs):
    options = ("--host", "h1:1,h2:2,h3:4", "--cpus", "3", "--dry-run", "-n", "5")
    result = on_hosts.run(*options, "touch", str(jobs.folder / "ran"))
    assert result.code == 0 and not (jobs.folder / "ran").exists()
    assert "  h2  2 slots, ranks 1-2; 3 cpus and " in result.out, result
    result = on_hosts.run(*options, "--map-by", "node", "--output", "json", "hostname")
    plan = json.loads(result.out)
    assert [(host["host"], host["ranks"]) for host in plan["hosts"]] == [
        ("h1", [0]),
        ("h2", [1, 3]),
        ("h3", [2, 4]),
    ]


SHIPPED = (
    PRELUDE
    + """
import helper
def where(parent):
    import late  # not before it runs, on the host where it runs
    say_where(parent)
    Sender[tuple](parent).send((helper.VALUE, late.VALUE, os.getcwd(), open("data/file").read()))
mine = os.getcwd()
for host, pid in sorted(on_each_host(where).items()):
    value, late, cwd, text = Receiver[tuple](pid).recv(timeout=20)
    print(host, value, late, cwd == mine, text)
"""
)


def test_a_program_that_other_hosts_lack_is_sent_to_them_and_removed_at_the_end(on_hosts):
    files = {"job__py": SHIPPED, "helper__py": "VALUE = 7", "late__py": "VALUE = 8", "data/file": "text"}
    on_hosts.only_on_h1("/tmp/mine", **files)
    result = on_hosts.run(*THREE, "python", "job.py", cwd="/tmp/mine")
    expected = ["h1 7 8 True text", "h2 7 8 False text", "h3 7 8 False text"]
    assert result.out.splitlines() == expected and result.code == 0, result
    # The ranks as well, started from another folder, with an argument that is a file of the program.
    text = "import sys, os; print(os.path.basename(os.getcwd())[:5], open(sys.argv[1]).read())"
    on_hosts.only_on_h1("/tmp/mine", show__py=text)
    options = ("--host", "h1:1,h2:1", "--output", "plain", "-n", "2", "--ship", "/tmp/mine")
    result = on_hosts.run(*options, "python", "/tmp/mine/show.py", "mine/data/file", cwd="/tmp")
    assert sorted(result.out.splitlines()) == ["ship- text", "tmp text"], result


def test_a_program_that_some_hosts_lack_is_sent_from_the_host_where_all_ranks_are_elsewhere(on_hosts):
    on_hosts.only_on_h1("/tmp/mine", job__py="import os; print(os.uname().nodename)")
    result = on_hosts.run(
        "--host", "h2:2", "--output", "plain", "-n", "2", "python", "job.py", cwd="/tmp/mine"
    )
    assert result.out.split() == ["h2", "h2"] and result.code == 0, result


def test_a_folder_to_send_that_is_not_there_is_named(on_hosts):
    result = on_hosts.run(*THREE, "--ship", "nowhere", "hostname")
    assert result.code == 2 and "nowhere: no such folder" in result.err, result


def test_the_secret_is_in_no_argv_on_any_host_and_folders_are_for_their_owner(on_hosts, jobs):
    job = on_hosts.start(
        *THREE, "-n", "6", "python", jobs.script(SLEEPS.replace("on_each_host(sleep)", ""))
    )
    for _ in range(6):
        came_up(job)
    secrets = set()
    for host in HOSTS:
        secrets.add(on_hosts.hosts.call(host, "sh", "-c", f"od -An -v -tx1 {TMP}/cmpi-*/secret").strip())
        mode = on_hosts.hosts.call(host, "sh", "-c", f"stat -c %a {TMP}/cmpi-*/secret")
        assert mode.strip() == "600"
    (secret,) = (bytes.fromhex(text.replace("\n", "")) for text in secrets)
    for host in HOSTS:
        argvs = on_hosts.hosts.call(host, "sh", "-c", "cat /proc/[0-9]*/cmdline")
        assert "launcher" in argvs and secret.hex() not in argvs
        environments = on_hosts.hosts.call(host, "sh", "-c", "cat /proc/[0-9]*/environ | od -An -v -tx1")
        assert secret.hex(" ") not in " ".join(environments.split())
        modes = on_hosts.hosts.call(host, "sh", "-c", f"stat -c %a {TMP}/cmpi-* /dev/shm/cmpi-*")
        assert modes.split() == ["700", "700"]
    end(job, jobs, signal.SIGTERM)


def test_the_doctor_looks_at_every_host_and_runs_a_job_on_all(on_hosts):
    result = on_hosts.run("--doctor", "--host", "h1:1,h2:1,h3:1")
    assert result.code == 0 and "a job on all hosts   ok       3 ranks" in result.out, result
    result = on_hosts.run("--doctor", "--host", "h1,h2,h9")
    assert result.code == 2 and "fix: getent hosts h9" in result.out, result
    assert "host h2" in result.out and "free in /dev/shm" in result.out


GROUP = """
from mpi4py import MPI
def member(parent):
    names = MPI.COMM_WORLD.gather(os.uname().nodename)
    if MPI.COMM_WORLD.rank == 0:
        Sender[list](parent).send(names)
pids = cmpi.spawn_group(5, member, resources=whole)
print(*sorted(Receiver[list](pids[0]).recv(timeout=20)), [cmpi.wait(pid, timeout=10).code for pid in pids])
pids = cmpi.spawn_group(2, member, resources=Resources(cpus=1, host="h3"))
print(*Receiver[list](pids[0]).recv(timeout=20))
"""


def test_a_group_may_be_on_several_hosts_or_on_another(on_hosts):
    result = on_hosts.job(PRELUDE + GROUP, options=(*THREE, "--cpus", "2"))
    assert result.out.splitlines() == ["h1 h2 h2 h3 h3 [0, 0, 0, 0, 0]", "h3 h3"], result
    assert result.code == 0 and silent(result), result


BACK = """
pid = cmpi.spawn(say_where, resources=Resources(cpus=1, host="h3"))
print(Receiver[str](pid, name="where").recv(timeout=20), flush=True)
cmpi.wait(pid)
all_cpus = cmpi.capacity().total.cpus
print("up", flush=True)
while cmpi.capacity().total.cpus == all_cpus:
    time.sleep(0.1)
print("lost", flush=True)
while cmpi.capacity().total.cpus < all_cpus:
    time.sleep(0.1)
pid = cmpi.spawn(say_where, resources=Resources(cpus=1, host="h3"))
print(Receiver[str](pid, name="where").recv(timeout=20), cmpi.wait(pid, timeout=10))
"""


@pytest.mark.parametrize("how", ["power_off", "cut"])
def test_a_host_that_comes_back_is_used_again(on_hosts, jobs, how):
    job = on_hosts.start(*THREE, "python", jobs.script(PRELUDE + BACK))
    assert job.stdout.readline() == b"h3\n"
    came_up(job)
    getattr(on_hosts.hosts, how)("h3")
    assert job.stdout.readline() == b"lost\n"
    on_hosts.hosts.restore("h3")
    out, err = (text.decode() for text in job.communicate(timeout=60))
    assert out == "h3 0\n" and "host h3 is lost" in err and "host h3 is back" in err, out + err
    assert job.returncode == 0


RETURNS = (
    PRELUDE
    + """
def where(parent):
    import helper
    Sender[tuple](parent).send((os.uname().nodename, helper.VALUE, os.path.basename(os.getcwd())[:5]))
def ask():
    pid = cmpi.spawn(where, resources=Resources(cpus=1, host="h3"))
    print(*Receiver[tuple](pid).recv(timeout=20), cmpi.wait(pid, timeout=10), flush=True)
def until(ready):
    while not ready(): time.sleep(0.1)
all_cpus = cmpi.capacity().total.cpus
if "added" not in sys.argv:
    ask()
    until(lambda: cmpi.capacity().total.cpus < all_cpus)
    print("lost", flush=True)
    until(lambda: cmpi.capacity().total.cpus == all_cpus)
else:
    print("up", flush=True)
    until(lambda: cmpi.capacity().total.cpus > all_cpus)
ask()
"""
)


def test_a_host_that_comes_back_or_is_added_gets_the_program_if_it_lacks_it(on_hosts):
    on_hosts.only_on_h1("/tmp/mine", job__py=RETURNS, helper__py="VALUE = 7")
    job = on_hosts.start(*THREE, "python", "job.py", cwd="/tmp/mine")
    assert job.stdout.readline() == b"h3 7 ship- 0\n"
    on_hosts.hosts.power_off("h3")
    assert job.stdout.readline() == b"lost\n"
    on_hosts.hosts.restore("h3")
    out, err = (text.decode() for text in job.communicate(timeout=60))
    assert (out, job.returncode) == ("h3 7 ship- 0\n", 0), out + err
    two = ("--host", "h1:2,h2:2", "--output", "plain")
    job = on_hosts.start(*two, "python", "job.py", "added", cwd="/tmp/mine")
    came_up(job)
    assert on_hosts.run("--add-host", "h3:2").code == 0
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert (out, job.returncode) == ("h3 7 ship- 0\n", 0), out + err


ENVIRONMENT = """
def look(parent):
    say_where(parent)
    Sender[tuple](parent).send((os.environ["MINE"], os.environ["LOGNAME"], "SSH_CONNECTION" in os.environ))
for host, pid in on_each_host(look).items():
    print(host, *Receiver[tuple](pid).recv(timeout=20))
"""


def test_the_environment_travels_but_for_what_is_of_a_host(on_hosts, jobs):
    mine = {"MINE": "a b", "LOGNAME": "somebody"}
    result = on_hosts.job(PRELUDE + ENVIRONMENT, options=THREE, env=mine)
    expected = ["h1 a b somebody False", "h2 a b root True", "h3 a b root True"]
    assert result.out.splitlines() == expected, result
    script = jobs.script("import os; print(os.uname().nodename, os.environ['MINE'], os.environ['LOGNAME'])")
    result = on_hosts.run("--host", "h2:1", "--output", "plain", "python", script, env=mine)
    assert result.out == "h2 a b root\n", result


def test_ctrl_z_does_not_make_the_other_hosts_give_the_job_up(on_hosts, jobs):
    job = on_hosts.start(*THREE, "python", jobs.script(SLEEPS))
    came_up(job)
    (cmpirun,) = [p for p in jobs.processes() if "cmpirun" in " ".join(p.cmdline()[:2])][:1]
    cmpirun.send_signal(signal.SIGTSTP)
    time.sleep(0.5)
    assert cmpirun.status() != "stopped" and job.poll() is None
    end(job, jobs, signal.SIGTERM)


ADD = """
print("up", flush=True)
before = cmpi.capacity().total.cpus
while cmpi.capacity().total.cpus == before:
    time.sleep(0.05)
pid = cmpi.spawn(say_where, resources=Resources(cpus=1, host="h3"))
print(Receiver[str](pid, name="where").recv(timeout=20), cmpi.wait(pid, timeout=10))
"""


def test_a_host_may_be_added_to_a_job_that_runs(on_hosts, jobs):
    options = ("--host", "h1:2,h2:2", "--output", "plain")
    result = on_hosts.run("--add-host", "h3:2")
    assert result.code == 2 and "no such job of yours" in result.err, result
    job = on_hosts.start(*options, "python", jobs.script(PRELUDE + ADD))
    came_up(job)
    result = on_hosts.run("--add-host", "h2:2,no-such.invalid")
    assert result.code == 1 and "h2: is already a host of this job" in result.err, result
    assert "no-such.invalid: there is no host of this name" in result.err, result
    result = on_hosts.run("--add-host", "h3:2")
    assert result.code == 0 and not result.err, result
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert out == "h3 0\n" and "host h3 has been added" in err and job.returncode == 0, out + err


def test_output_of_another_host_arrives_byte_for_byte_and_input_reaches_it(on_hosts, jobs):
    script = jobs.script(
        "import sys, hashlib\n"
        "data = bytes(range(256)) * 4 * 16_384\n"
        "for _ in range(3): sys.stdout.buffer.write(data)\n"
        "sys.stdout.flush()\n"
        "print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), file=sys.stderr)\n"
    )
    given = os.urandom(3_000_000)
    options = ("--host", "h2:1", "--output", "plain")
    result = on_hosts.run(*options, "python", script, input=given, text=False)
    came, expected = (each.rstrip(b"\n") for each in (result.out, bytes(range(256)) * 4 * 16_384 * 3))
    equal = came == expected  # pytest would compare them line by line
    assert equal, (len(came), len(expected), came[:300], came[-300:], result.err[:300], result.code)
    assert result.err.decode().strip() == hashlib.sha256(given).hexdigest() and result.code == 0


def test_two_jobs_at_once_do_not_meet(on_hosts, jobs):
    script = jobs.script(WORLD)
    running = [on_hosts.start(*THREE, "-n", n, "python", script) for n in ("3", "6")]
    outs = [job.communicate(timeout=40)[0].decode().split() for job in running]
    assert outs[0] == ["h1", "h1", "h2", "3", "3"] and outs[1][-2:] == ["15", "6"], outs
    assert [job.returncode for job in running] == [0, 0]


def test_garbage_at_the_sockets_of_a_job_changes_nothing(on_hosts, jobs):
    job = on_hosts.start(*THREE, "python", jobs.script(PRELUDE + GARBAGE))
    came_up(job)
    text = (
        "import glob, os, socket, sys\n"
        f"for path in glob.glob('{TMP}/cmpi-*/r*'):\n"
        "    if os.path.basename(path) in ('root', 'rsh'):\n"
        "        for data in (b'', b'GET / HTTP/1.0\\r\\n\\r\\n' * 99, os.urandom(9999)):\n"
        "            s = socket.socket(socket.AF_UNIX); s.connect(path)\n"
        "            try: s.sendall(data)\n"
        "            except OSError: pass\n"
        "            s.close()\n"
        "        print(os.path.basename(path))\n"
    )
    for host, sockets in (("h1", ["root", "rsh"]), ("h2", ["root"])):
        found = sorted(on_hosts.hosts.call(host, sys.executable, "-c", text).split())
        assert found == sockets
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert out.split() == ["h1", "h2", "h3"] and job.returncode == 0 and not err, out + err


GARBAGE = """
def late(parent):
    say_where(parent)
    time.sleep(3)
    Sender[str](parent).send(os.uname().nodename)
pids = on_each_host(late)
print("up", flush=True)
print(*(Receiver[str](pid).recv(timeout=20) for pid in pids.values()))
"""


PARTS = """
pid = cmpi.spawn(say_where, resources=Resources(cpus=1, host="h3"))
print(Receiver[str](pid, name="where").recv(timeout=20), cmpi.wait(pid), flush=True)
print("up", flush=True)
sys.stdin.readline()
for host in ("h2", "h3"):
    try:
        pid = cmpi.spawn(say_where, resources=Resources(cpus=1, host=host))
        print(Receiver[str](pid, name="where").recv(timeout=20))
    except (cmpi.NeverFits, PeerExited) as error:
        print("not on", host)
"""


@pytest.mark.parametrize(
    ("part", "last"),
    [("fork_server", "h3"), ("root/main.py", "not on h3"), ("mpiexec|prterun|hydra", "not on h3")],
)
def test_a_part_of_ours_on_another_host_that_is_killed_ends_no_more_than_that_host(
    on_hosts, jobs, part, last
):
    job = on_hosts.start(*THREE, "python", jobs.script(PRELUDE + PARTS), stdin=subprocess.PIPE)
    assert job.stdout.readline() == b"h3 0\n"
    came_up(job)
    on_hosts.hosts.call("h3", "pkill", "-9", "-f", part, check=False)
    time.sleep(1)
    out, err = (text.decode() for text in job.communicate(b"go\n", timeout=60))
    assert out.splitlines() == ["h2", last] and job.returncode == 0, out + err
    assert ("host h3 is lost" in err) == (last != "h3"), err


STUBS = """
def kills(parent):
    "Kills the next stub on this host when it has said that it is there, and waits for the fork server."
    import cmpi._runtime.process.context as context
    folder = context.current().state.doorbell._folder
    before = set(os.listdir(folder))
    forked = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if "fork_server:main" in open(f"/proc/{pid}/cmdline").read():
                forked.append(int(pid))
    server = min(forked)  # the others are its children
    os.kill(server, signal.SIGSTOP)
    Sender(parent).send("ready")
    while True:
        for name in set(os.listdir(folder)) - before:
            with contextlib.suppress(OSError):
                if name.endswith(".pid") and open(f"{folder}/{name}").read().startswith("start "):
                    os.kill(int(name[:-4]), signal.SIGKILL)
                    return os.kill(server, signal.SIGCONT)
import contextlib
there = Resources(cpus=0.2, host="h3")
killer = cmpi.spawn(kills, resources=there)
assert Receiver(killer).recv() == "ready"
victim = cmpi.spawn(say_where, resources=there)
cmpi.wait(killer)
print(cmpi.wait(victim, timeout=40).signal, cmpi.wait(cmpi.spawn(say_where, resources=there), timeout=40))
"""


def test_a_stub_on_another_host_that_is_killed_before_it_is_up_is_done_without(on_hosts, jobs):
    if mpi_kind() == "mpich":
        pytest.skip("NOT TESTED: Hydra ends its processes when one dies that has not left it in order")
    result = on_hosts.run(*THREE, "python", jobs.script(PRELUDE + STUBS), timeout=90)
    assert (result.code, result.out) == (0, "0 0\n"), result


@pytest.mark.parametrize("part", ["root/main.py", "mpiexec|prterun"])
def test_the_end_of_the_root_or_its_mpiexec_is_the_end_on_all_hosts(on_hosts, jobs, part):
    job = on_hosts.start(*THREE, "python", jobs.script(SLEEPS))
    came_up(job)
    begin = time.monotonic()
    on_hosts.hosts.call("h1", "pkill", "-9", "-o", "-f", part)
    _, err = job.communicate(timeout=20)
    assert job.returncode == 1 and time.monotonic() - begin < 10, err
