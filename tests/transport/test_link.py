"""The contract of a link, over memory with six seeds, over sockets, and over real MPI."""

import random
import sys
import time

import pytest

from tests.mpi import conftest
from tests.transport import link_contract, memory_link, test_stream

jobs = conftest.jobs


def play(program, links, seed):
    """Both ends of a program, in an order that the seed chooses; then all is where it belongs."""
    choice = random.Random(seed)
    runs = [program(link, i == 0) for i, link in enumerate(links)]
    end_s = time.monotonic() + 30
    while runs or any(link.busy for link in links):
        assert time.monotonic() < end_s, "it hangs"
        for link in links:
            link.progress_sends()
        if runs:
            run = choice.choice(runs)
            try:
                next(run)
            except StopIteration:
                runs.remove(run)
    assert [link.sent for link in links] == [link.received for link in reversed(links)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("program", link_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_over_memory(program, seed):
    links = memory_link.pair(seed)
    play(program, links, seed)
    assert not any(link.heads or link.bulk_in for link in links)


@pytest.mark.parametrize("by", ["TCP", "a Unix socket"])
@pytest.mark.parametrize("program", link_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_over_a_stream(program, by, tmp_path):
    links = test_stream.meet(at="127.0.0.1" if by == "TCP" else f"{tmp_path}/link")
    play(program, links, 0)
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
