"""Ranks, spawned processes and groups on three hosts; cmpirun runs on the first (see hosts.py)."""

from tests.cluster.programs import PRELUDE, THREE, WORLD, silent


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


def test_concurrent_jobs_do_not_interfere(on_hosts, jobs):
    script = jobs.script(WORLD)
    running = [on_hosts.start(*THREE, "-n", n, "python", script) for n in ("3", "6")]
    outs = [job.communicate(timeout=40)[0].decode().split() for job in running]
    assert outs[0] == ["h1", "h1", "h2", "3", "3"] and outs[1][-2:] == ["15", "6"], outs
    assert [job.returncode for job in running] == [0, 0]
