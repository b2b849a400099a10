"""A pool whose workers are on several hosts: hosts that are lost, and hosts that are added."""

import pytest

POOL = """\
import os, sys, time
import numpy as np
import cmpi
from cmpi import ProcessPool, Resources

def where(_=None, seconds=0.0):
    time.sleep(seconds)
    return os.uname().nodename

def until(what, limit_s=60):
    end_s = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.05)

def hosts(pool):
    "The hosts on which tasks run that take a moment."
    return set(pool.map(where, range(24), [0.02] * 24, chunksize=1))

if __name__ == "__main__":
    cmpi.init()
"""

LOSES = """\
    with ProcessPool(6, resources=Resources(cpus=1)) as pool:
        until(lambda: hosts(pool) == {"h1", "h2", "h3"})
        big = np.arange(1_000_000)
        print(set(pool.map(lambda i, a: int(a.sum()) + i - i, range(12), [pool.share(big)] * 12)))
        patient = [pool.submit(where, None, 60.0) for _ in range(6)]
        until(lambda: all(future.running() for future in patient))
        print("up", flush=True)
        until(lambda: sum(future.done() for future in patient) == 2)
        time.sleep(0.2)
        failed = [future.exception() for future in patient if future.done()]
        for future in patient:
            future.kill()
        print(sorted(error.status.verdict.split(':')[0] for error in failed))
        retried = pool.options(retries=1).submit(where)
        print(retried.result() in ("h1", "h2"))
        until(lambda: hosts(pool) == {"h1", "h2"})
"""


def test_a_pool_continues_after_losing_the_tasks_of_a_lost_host(on_hosts, jobs):
    job = on_hosts.start(
        "--host",
        "h1:2,h2:2,h3:2",
        "--host-timeout",
        "3.5",
        "--output",
        "plain",
        "python",
        jobs.script(POOL + LOSES),
    )
    lines = [job.stdout.readline().decode() for _ in range(2)]
    assert lines == ["{499999500000}\n", "up\n"], [*lines, job.stderr.read()]
    on_hosts.hosts.power_off("h3")
    out, err = (text.decode() for text in job.communicate(timeout=60))
    assert out == "['host lost', 'host lost']\nTrue\n", out + err
    assert job.returncode == 0 and "host h3 is lost" in err, err


GROWS = """\
    with ProcessPool(4, resources=Resources(cpus=1)) as pool:
        print(hosts(pool), flush=True)
        until(lambda: hosts(pool) == {"h1", "h2"})
        print("grown")
"""


@pytest.mark.timeout(180)
def test_a_pool_grows_when_a_host_is_added(on_hosts, jobs):
    job = on_hosts.start("--host", "h1:2", "--output", "plain", "python", jobs.script(POOL + GROWS))
    line = job.stdout.readline()
    assert line == b"{'h1'}\n", line + job.stderr.read()
    result = on_hosts.run("--add-host", "h2:2")
    assert result.code == 0, result
    out, err = (text.decode() for text in job.communicate(timeout=90))
    assert out == "grown\n" and job.returncode == 0, out + err


NODES = """\
    with ProcessPool(4, resources=Resources(cpus=1)) as pool:
        until(lambda: len(hosts(pool)) == 2)
        print(sum(pool.map(lambda x: x * x, range(1000))))
"""


def test_a_pool_has_workers_on_all_nodes_that_slurm_has_given(slurm_on_hosts, on_hosts, jobs):
    options = (
        "--slurm",
        "-N",
        "2",
        "--output",
        "plain",
        "--time",
        "2:00",
        "--slurm-args=--cpus-per-task=2",
    )
    result = on_hosts.run(*options, "python", jobs.script(POOL + NODES), timeout=90)
    assert result.out == "332833500\n" and result.code == 0, result
