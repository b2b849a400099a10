"""Chooses the addresses by which other hosts reach a host. Pure."""

from __future__ import annotations

from cmpi.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def choose(name: str, seen: Sequence[str], own: Sequence[str], interface: str) -> list[str]:
    """The addresses of a host, the most promising first; its name, if no address is known.

    Args:
        name: What the job calls the host.
        seen: The addresses by which ssh has reached it, or from which it came.
        own: Its network interfaces, as "eth0=10.0.0.2".
        interface: The one to use: its name, an address, or a network such as 10.0.0.0/16. "": any.

    Raises:
        UsageError: The host has no such interface.

    >>> choose("h", ["10.0.0.2"], ["eth0=10.0.0.2", "ib0=10.9.0.2"], "")
    ['10.0.0.2', '10.9.0.2']
    >>> choose("h", ["10.0.0.2"], ["eth0=10.0.0.2", "ib0=10.9.0.2"], "10.9.0.0/16")
    ['10.9.0.2']
    """
    if not interface:
        addresses = [each.partition("=")[2] for each in own]
        return list(dict.fromkeys([*(seen or [name])[:1], *seen, *addresses]))
    found = [each.partition("=")[2] for each in own if _is(each, interface)]
    if not found:
        has = ", ".join(each.replace("=", " ") for each in own) or "none"
        raise UsageError(f"{name} has no network interface {interface} (--interface); it has: {has}")
    return found


def _is(own: str, interface: str) -> bool:
    name, _, address = own.partition("=")
    if interface in (name, address):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(interface, strict=False)
    except ValueError:
        return False  # it is the name of another interface


def mpi_settings(kind: str, interface: str, theirs: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """The settings that tell MPI which network a world uses.

    Open MPI takes names and networks, MPICH only names.

    Args:
        kind: Of MPI.
        interface: As in `choose`.
        theirs: The network interfaces of a host of the world.
        own: Those of the host of mpiexec.
    """
    if not interface:
        return {}
    if kind == "openmpi":
        here = {"PRTE_MCA_prte_if_include": interface} if any(_is(it, interface) for it in own) else {}
        return {"OMPI_MCA_btl_tcp_if_include": interface, **here}
    name = next((each.partition("=")[0] for each in theirs if _is(each, interface)), interface)
    return {"FI_TCP_IFACE": name, "UCX_NET_DEVICES": name}
