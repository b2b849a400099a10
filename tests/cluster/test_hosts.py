"""Jobs on three hosts; cmpirun runs on the first (see hosts.py)."""

import hashlib
import json
import os
import pathlib
import sys

import pytest

from tests.cluster.programs import BETWEEN, PRELUDE, THREE, WORLD, silent


def test_by_node_places_ranks_round_robin(on_hosts):
    result = on_hosts.job(WORLD, options=(*THREE, "--map-by", "node", "-n", "4"))
    assert result.out.split()[:4] == ["h1", "h2", "h3", "h1"], result


def test_all_ranks_may_be_on_another_host(on_hosts):
    result = on_hosts.job(WORLD, options=("--host", "h3:2", "--output", "plain", "-n", "2"))
    assert result.out.split() == ["h3", "h3", "1", "2"] and result.code == 0, result


def test_programs_without_mpi_run_on_other_hosts_and_missing_ones_are_named(on_hosts):
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


def test_two_spawned_processes_on_other_hosts_talk_to_each_other(on_hosts):
    result = on_hosts.job(PRELUDE + BETWEEN, options=THREE)
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_the_contract_of_a_connection_holds_between_hosts(on_hosts, jobs, loss):
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


def test_a_job_runs_in_flux_and_under_the_mpi_operator(on_hosts, jobs):
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


def test_a_spawn_can_name_its_host(on_hosts):
    result = on_hosts.job(PRELUDE + HINTS, options=THREE)
    assert result.out.splitlines() == [
        "h3",
        "h2 h2",
        "h2",
        "asked for host h9; the hosts of this job are h1, h2, h3",
    ], result


def test_dry_run_shows_the_plan_and_runs_nothing(on_hosts, jobs):
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


def test_a_group_can_span_hosts_or_run_on_another(on_hosts):
    result = on_hosts.job(PRELUDE + GROUP, options=(*THREE, "--cpus", "2"))
    assert result.out.splitlines() == ["h1 h2 h2 h3 h3 [0, 0, 0, 0, 0]", "h3 h3"], result
    assert result.code == 0 and silent(result), result


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


def test_concurrent_jobs_do_not_interfere(on_hosts, jobs):
    script = jobs.script(WORLD)
    running = [on_hosts.start(*THREE, "-n", n, "python", script) for n in ("3", "6")]
    outs = [job.communicate(timeout=40)[0].decode().split() for job in running]
    assert outs[0] == ["h1", "h1", "h2", "3", "3"] and outs[1][-2:] == ["15", "6"], outs
    assert [job.returncode for job in running] == [0, 0]
