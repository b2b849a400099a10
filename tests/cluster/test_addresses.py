"""Hosts that are not reached by their own names, or by one address for all."""

import contextlib

import pytest

from tests.cluster.programs import HOSTS, PRELUDE

WORLD = """
import os, cmpi
from mpi4py import MPI
print(MPI.COMM_WORLD.rank, os.environ["MASTER_ADDR"], MPI.COMM_WORLD.allreduce(1), flush=True)
"""
TALK = """
def answer(parent):
    for other in [pid for pid in Receiver(parent, name="others").recv() if pid != cmpi.pid()]:
        Sender(other, name="hello").send(os.uname().nodename)
        print(os.uname().nodename, Receiver(other, name="hello").recv(timeout=40), flush=True)
    Sender(parent, name="done").send(True)
pids = [cmpi.spawn(answer, resources=Resources(1, host=host)) for host in sys.argv[1:]]
for pid in pids: Sender(pid, name="others").send(pids)
for pid in pids: Receiver(pid, name="done").recv(timeout=60)
"""


@contextlib.contextmanager
def called(hosts, name):
    """A context in which h1 has another name for itself, which no host can resolve."""
    hosts.call("h1", "hostname", name)
    try:
        yield
    finally:
        hosts.call("h1", "hostname", "h1")


@pytest.mark.parametrize("first, address", [("localhost", "10.83.0.1"), ("h3", "10.83.0.3")])
def test_a_host_whose_name_resolves_nowhere_takes_part(on_hosts, jobs, first, address):
    with called(on_hosts.hosts, "laptop"):
        options = ("--host", f"{first}:2,h2:2", "-n", "4", "--output", "plain")
        result = on_hosts.job(WORLD, options=options)
        assert sorted(result.out.splitlines()) == [f"{rank} {address} 4" for rank in range(4)], result
        result = on_hosts.job(PRELUDE + TALK, first, "h2", options=(*options[:2], "--output", "plain"))
        own = "laptop" if first != "h3" else "h3"
        assert sorted(result.out.splitlines()) == sorted([f"{own} h2", f"h2 {own}"]), result


@contextlib.contextmanager
def apart(hosts):
    """A context in which h2 and h3 reach each other only by a network that h1 is not part of."""
    hosts.join("h2", "h3")
    try:
        yield
    finally:
        hosts.part("h2", "h3")


def test_each_pair_of_hosts_finds_a_working_address(on_hosts, jobs):
    everybody = sorted(f"{one} {other}" for one in HOSTS for other in HOSTS if one != other)
    with apart(on_hosts.hosts):
        options = ("--host", "h1:2,h2:2,h3:2", "--output", "plain")
        result = on_hosts.job(PRELUDE + TALK, *HOSTS, options=options, timeout=80)
        assert sorted(result.out.splitlines()) == everybody, result
        assert (
            "h2 (10.83.0.2 10.84.0.2) and h3 (10.83.0.3 10.84.0.3) cannot connect by TCP yet" in result.err
        )


def test_the_user_can_choose_the_network(on_hosts, jobs):
    with apart(on_hosts.hosts):
        options = ("--host", "h2:2,h3:2", "--output", "plain", "--interface")
        for interface in ("eth1", "10.84.0.0/16"):
            result = on_hosts.job(PRELUDE + TALK, "h2", "h3", options=(*options, interface))
            assert sorted(result.out.splitlines()) == ["h2 h3", "h3 h2"], result
            assert "cannot connect" not in result.err, result
        result = on_hosts.job(WORLD, options=(*options, "10.84.0.0/16", "-n", "4", "--map-by", "node"))
        assert sorted(result.out.splitlines()) == [f"{rank} 10.84.0.2 4" for rank in range(4)], result
        result = on_hosts.run(*options, "eth7", "hostname")
        assert (
            result.code == 2 and "has no network interface eth7 (--interface); it has: eth0" in result.err
        )
