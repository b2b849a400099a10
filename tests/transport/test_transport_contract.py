"""The contract of a transport, over memory with six seeds, over sockets, and over real MPI."""

import random
import sys
import time

import pytest

from tests.mpi import conftest
from tests.transport import memory_transport, test_socket_transport, transport_contract

jobs = conftest.jobs


def play(program, transports, seed):
    """Run both ends of a program, in an order that the seed determines; afterwards everything must have
    arrived."""
    choice = random.Random(seed)
    runs = [program(transport, i == 0) for i, transport in enumerate(transports)]
    end_s = time.monotonic() + 30
    while runs or any(transport.busy for transport in transports):
        assert time.monotonic() < end_s, "it hangs"
        for transport in transports:
            transport.progress_sends()
        if runs:
            run = choice.choice(runs)
            try:
                next(run)
            except StopIteration:
                runs.remove(run)
    assert [transport.sent for transport in transports] == [
        transport.received for transport in reversed(transports)
    ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("program", transport_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_the_contract_holds_over_memory(program, seed):
    transports = memory_transport.pair(seed)
    play(program, transports, seed)
    assert not any(transport.heads or transport.bulk_in for transport in transports)


@pytest.mark.parametrize("by", ["TCP", "a Unix socket"])
@pytest.mark.parametrize("program", transport_contract.PROGRAMS, ids=lambda p: p.__name__)
def test_the_contract_holds_over_a_socket(program, by, tmp_path):
    transports = test_socket_transport.meet(at="127.0.0.1" if by == "TCP" else f"{tmp_path}/link")
    play(program, transports, 0)
    for transport in transports:
        transport.free()


@pytest.mark.mpi
def test_the_contract_holds_over_mpi(jobs):
    from cmpi.bench.common import plain_mpiexec

    argv = plain_mpiexec([sys.executable, "-m", "tests.transport.transport_contract"])
    argv[argv.index("-n") + 1] = "2"
    root = str(conftest.pathlib.Path(__file__).parents[2])
    result = jobs.run(*argv, cwd=root, env={"PYTHONPATH": root})
    # mpiexec passes on even part of a line: "okok\n\n" was seen.
    assert (result.code, result.out.replace("\n", "")) == (0, "okok"), result
