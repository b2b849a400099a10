"""Batch jobs over several nodes of a real Slurm, one in each host of hosts.py."""

from tests.cluster.test_hosts import BETWEEN, PRELUDE, WORLD


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


def test_no_more_is_used_than_slurm_has_given(slurm_on_hosts, on_hosts, jobs):
    text = "import cmpi; cmpi.init(); print(cmpi.capacity().total.cpus)"
    result = batch(on_hosts, "-N", "2", "-n", "2", "--slurm-args=--cpus-per-task=2", "python", "-c", text)
    assert result.out.split() == ["4.0", "4.0"] and result.code == 0, result


def test_one_rank_may_have_several_nodes_to_spawn_on(slurm_on_hosts, on_hosts, jobs):
    options = ("-N", "3", "--slurm-args=--cpus-per-task=2")
    result = batch(on_hosts, *options, "python", jobs.script(PRELUDE + BETWEEN))
    assert result.out.split() == [str(190 * 100_000), "0"] and result.code == 0, result
