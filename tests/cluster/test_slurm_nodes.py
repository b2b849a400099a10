"""Batch jobs over several nodes of a real Slurm, one in each host of hosts.py."""

import pytest

from tests.cluster.conftest import LIMITS_MEMORY
from tests.cluster.programs import BETWEEN, PRELUDE, WORLD


def batch(on_hosts, *arguments):
    return on_hosts.run("--slurm", "--output", "plain", "--time", "2:00", *arguments, timeout=90)


def test_ranks_are_spread_over_the_nodes_that_slurm_gives(slurm_on_hosts, on_hosts, jobs):
    result = batch(on_hosts, "-N", "2", "-n", "4", "python", jobs.script(WORLD))
    *hosts, total, size = result.out.split()
    assert result.code == 0 and len(hosts) == 4 and len(set(hosts)) == 2, result
    assert (total, size) == ("6", "4") and hosts == sorted(hosts), result


def test_processes_are_spawned_on_all_nodes_and_talk_to_each_other(slurm_on_hosts, on_hosts, jobs):
    options = ("-N", "3", "-n", "3", "--slurm-args=--cpus-per-task=2")
    result = batch(on_hosts, *options, "python", jobs.script(PRELUDE + ONCE))
    assert sorted(result.out.split()) == sorted([str(190 * 100_000), "0"]), result
    assert result.code == 0, result


ONCE = "if cmpi.world()[0] != cmpi.pid(): sys.exit()\n" + BETWEEN


def test_a_job_uses_no_more_than_slurm_has_granted(slurm_on_hosts, on_hosts, jobs):
    text = "import cmpi; cmpi.init(); print(cmpi.capacity().total.cpus)"
    result = batch(on_hosts, "-N", "2", "-n", "2", "--slurm-args=--cpus-per-task=2", "python", "-c", text)
    assert result.out.split() == ["4.0", "4.0"] and result.code == 0, result


def test_a_single_rank_can_spawn_on_several_nodes(slurm_on_hosts, on_hosts, jobs):
    options = ("-N", "3", "--slurm-args=--cpus-per-task=2")
    result = batch(on_hosts, *options, "python", jobs.script(PRELUDE + BETWEEN))
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result


EVERYWHERE = """
def answers(parent):
    say_where(parent)
    Sender(parent, name="answer").send(Receiver(parent, name="question").recv())
pids = on_each_host(answers)
print("up", flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.05)
for host, pid in pids.items():
    try:
        Sender(pid, name="question").send("is there")
        print(host, Receiver(pid, name="answer").recv(timeout=30), flush=True)
    except PeerExited as error:
        print(host, error.status.verdict, flush=True)
"""


def everywhere(on_hosts, jobs, *options):
    """A job with a process on each node; the processes report when the file `go` exists."""
    go = jobs.folder / "go"
    common = ("--slurm", "--output", "plain", "--time", "2:00", "-N", "3", "--slurm-args=--cpus-per-task=2")
    job = on_hosts.start(*common, *options, "python", jobs.script(PRELUDE + EVERYWHERE), str(go))
    assert job.stdout.readline() == b"up\n", job.communicate()
    return job, go


GREEDY = """
def greedy(parent):
    say_where(parent)
    x = b"x" * (1200 << 20)
pid = cmpi.spawn(greedy, resources=Resources(1, host="h2"))
print(cmpi.wait(pid, timeout=30))
again = cmpi.spawn(say_where, resources=Resources(1, host="h2"))
print(Receiver[str](again, name="where").recv(timeout=20))
"""


@pytest.mark.skipif(not LIMITS_MEMORY, reason="NOT TESTED: no cgroups of version 1 for Slurm here")
def test_only_the_process_that_exceeds_its_nodes_memory_is_killed(slurm_on_hosts, on_hosts, jobs):
    options = ("-N", "2", "--slurm-args=--cpus-per-task=2", "--mem-per-cpu", "200M", "--enforce", "none")
    result = batch(on_hosts, *options, "python", jobs.script(PRELUDE + GREEDY))
    assert result.out == "signal 9 (SIGKILL): out of memory: the kernel killed it\nh2\n", result
    assert result.code == 0, result  # the program has dealt with it


def test_draining_a_node_ends_no_running_process(slurm_on_hosts, on_hosts, jobs):
    job, go = everywhere(on_hosts, jobs)
    with slurm_on_hosts.drained("h3"):
        go.touch()
        out, err = job.communicate(timeout=60)
    assert (job.returncode, out) == (0, b"h1 is there\nh2 is there\nh3 is there\n"), err


@pytest.mark.parametrize(
    "options, code, said",
    [
        ((), 1, "ended by Slurm (NODE_FAIL): a node failed"),
        (("--slurm-args=--no-kill",), 0, "host h3 is lost"),
    ],
)
def test_a_node_failure_ends_the_job_or_only_the_processes_of_that_node(
    slurm_on_hosts, on_hosts, jobs, options, code, said
):
    job, go = everywhere(on_hosts, jobs, *options)
    on_hosts.hosts.power_off("h3")
    # Slurm would notice after half a minute; here the administrator reports it at once.
    slurm_on_hosts.call("scontrol", "update", "nodename=h3", "state=down", "reason=test", check=True)
    go.touch()
    out, err = (text.decode() for text in job.communicate(timeout=90))
    assert job.returncode == code and said in err, out + err
    if options:
        assert out.startswith("h1 is there\nh2 is there\nh3 host lost: h3: "), out + err
