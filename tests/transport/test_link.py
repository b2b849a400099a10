"""The contract of a link, over memory with six seeds, over TCP, and over real MPI."""

import random
import sys
import time

import pytest

from tests.mpi import conftest
from tests.transport import link_contract, memory_link, test_tcp

jobs = conftest.jobs


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("program", link_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_over_memory(program, seed):
    choice = random.Random(seed)
    links = memory_link.pair(seed)
    runs = [program(link, i == 0) for i, link in enumerate(links)]
    for _ in range(100_000):
        if not runs:
            while any(link.busy for link in links):
                for link in links:
                    link.progress_sends()
            assert [link.sent for link in links] == [link.received for link in reversed(links)]
            assert not any(link.heads or link.bulk_in for link in links)
            return
        for link in links:
            link.progress_sends()
        run = choice.choice(runs)
        try:
            next(run)
        except StopIteration:
            runs.remove(run)
    pytest.fail("it hangs")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("program", link_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_over_tcp(program, seed):
    choice = random.Random(seed)
    links = test_tcp.meet()
    runs = [program(link, i == 0) for i, link in enumerate(links)]
    end_s = time.monotonic() + 30
    while runs:
        assert time.monotonic() < end_s, "it hangs"
        for link in links:
            link.progress_sends()
        run = choice.choice(runs)
        try:
            next(run)
        except StopIteration:
            runs.remove(run)
    while any(link.busy for link in links):
        for link in links:
            link.progress_sends()
    assert [link.sent for link in links] == [link.received for link in reversed(links)]
    for link in links:
        link.free()


@pytest.mark.mpi
def test_over_mpi(jobs):
    from cmpi.bench.common import plain_mpiexec

    argv = plain_mpiexec([sys.executable, "-m", "tests.transport.link_contract"])
    argv[argv.index("-n") + 1] = "2"
    root = str(conftest.pathlib.Path(__file__).parents[2])
    result = jobs.run(*argv, cwd=root, env={"PYTHONPATH": root})
    # mpiexec passes on what it has, also half a line: it was seen to print "okok\n\n".
    assert (result.code, result.out.replace("\n", "")) == (0, "okok"), result
