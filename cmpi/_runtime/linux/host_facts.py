"""Reads the facts that `_core/scheduling/capacity.py` decides on, and builds the root's list of hosts from
them."""

from __future__ import annotations

import glob
import os

from cmpi._core.fabric import choice
from cmpi._core.protocol import launcher_root
from cmpi._core.protocol.wire import Decoder
from cmpi._core.scheduling.capacity import Facts, usable
from cmpi._core.scheduling.host_room import Host
from cmpi._runtime.linux.cgroup import levels
from cmpi._runtime.linux.memory_usage import read


def facts() -> Facts:
    """Read what this host allows this process."""
    cpus = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    own = levels("")
    cpu_max = [read(f"{level}/cpu.max").strip() for level in own]
    memory_max = [read(f"{level}/memory.max").strip() for level in own]
    cpu_max += [
        f"{read(f'{level}/cpu.cfs_quota_us').strip()} {read(f'{level}/cpu.cfs_period_us').strip()}"
        for level in levels("cpu")
    ]
    memory_max += [read(f"{level}/memory.limit_in_bytes").strip() for level in levels("memory")]
    return Facts(cpus, memory, "\n".join(cpu_max), "\n".join(memory_max))


def has_rdma() -> bool:
    """Whether this host has an RDMA network card."""
    try:
        return bool(os.listdir("/sys/class/infiniband"))
    except OSError:
        return False


def fabric() -> str:
    """The fast networks of this host, in words; "" if it has none."""
    top, states = "/sys/class/infiniband", {}
    for port in glob.glob("*/ports/*/state", root_dir=top):
        states[port.removesuffix("/state")] = read(f"{top}/{port}")
    return choice.fabric(dict(sorted(states.items())), sorted(glob.glob("*", root_dir="/sys/class/cxi")))


def compiled() -> bool:
    """Whether the code that every message passes was compiled when cmpi was installed (see `setup.py`)."""
    from cmpi._transport import ring

    return ring.__file__.endswith(".so")


def hosts(order: launcher_root.LaunchJob, here: str) -> list[Host]:
    """The hosts where processes may be placed.

    Args:
        order: The launcher's order; if it names no hosts, there is only this one.
        here: The name of this host.
    """
    cpu_units, memory_bytes = usable(facts(), os.environ)
    cores = list(os.sched_getaffinity(0))
    if not order.hosts:
        return [Host(here, order.cpu_units or cpu_units, order.memory_bytes or memory_bytes, cores)]
    found = []
    for it in Decoder(launcher_root.HOSTS).feed(order.hosts):
        if it.name == here:
            has = it.cpu_units or cpu_units, it.memory_bytes or memory_bytes, cores
        else:
            has = it.cpu_units, it.memory_bytes, it.cores
        found.append(Host(it.name, *has, it.address, it.python))
    return found


def place(described: bytes) -> Host:
    """The host that the launcher describes."""
    (it,) = Decoder(launcher_root.HOSTS).feed(described)
    return Host(it.name, it.cpu_units, it.memory_bytes, it.cores, it.address, it.python)


def memory_name(folder: str) -> str:
    """A name that identifies this shared memory folder: equal in processes that see the same folder; "" if
    there is none.

    On another host, or in a container with its own /dev/shm, the name differs, or there is none.
    """
    try:
        stat = os.stat(folder)
    except OSError:
        return ""
    return f"{os.uname().nodename} {stat.st_dev} {stat.st_ino}"
