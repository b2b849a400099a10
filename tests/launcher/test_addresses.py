"""Addresses of hosts, and the network that the user chooses."""

import pytest

from cmpi.errors import UsageError
from cmpi.launcher.hosts.addresses import choose, mpi_settings
from cmpi.launcher.mpi.find_mpi import Mpi
from cmpi.launcher.mpi.mpiexec import world_command

OWN = ["eth0=10.0.0.2", "ib0=10.9.0.2", "docker0=172.17.0.1"]


@pytest.mark.parametrize(
    "seen, interface, expected",
    [
        (["10.9.0.2"], "", ["10.9.0.2", "10.0.0.2", "172.17.0.1"]),
        ([], "", ["node2", "10.0.0.2", "10.9.0.2", "172.17.0.1"]),
        (["10.0.0.2"], "ib0", ["10.9.0.2"]),
        (["10.0.0.2"], "10.9.0.2", ["10.9.0.2"]),
        (["10.0.0.2"], "10.0.0.0/8", ["10.0.0.2", "10.9.0.2"]),
    ],
)
def test_the_address_by_which_ssh_came_is_first_unless_a_network_is_chosen(seen, interface, expected):
    assert choose("node2", seen, OWN, interface) == expected


def test_a_host_without_that_network_is_named():
    with pytest.raises(UsageError, match=r"node2 has no network interface wlan0 .*; it has: eth0 10.0.0.2"):
        choose("node2", [], OWN, "wlan0")


def test_mpi_gets_the_network_in_the_form_that_it_knows():
    assert mpi_settings("openmpi", "", OWN, OWN) == {} == mpi_settings("mpich", "", OWN, OWN)
    assert mpi_settings("openmpi", "10.9.0.0/16", OWN, [])["OMPI_MCA_btl_tcp_if_include"] == "10.9.0.0/16"
    assert "PRTE_MCA_prte_if_include" not in mpi_settings("openmpi", "ib0", OWN, ["eth0=10.0.0.1"])
    assert "PRTE_MCA_prte_if_include" in mpi_settings("openmpi", "ib0", OWN, ["ib0=10.9.0.1"])
    assert mpi_settings("mpich", "10.9.0.0/16", OWN, OWN)["UCX_NET_DEVICES"] == "ib0"


def test_hydra_learns_by_what_address_the_others_reach_it():
    world = [("localhost", 2), ("b", 1)], {"localhost": ["p"], "b": ["q"]}, [], {}
    argv = world_command(
        Mpi("mpich", "mpiexec"), *world, superuser=False, local="localhost", address="10.0.0.1"
    )
    assert argv[:5] == ["mpiexec", "-localhost", "10.0.0.1", "-hosts", "10.0.0.1:2,b:1"]
