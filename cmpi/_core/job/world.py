"""The environment variables by which the ranks of a world find each other; ranks begin once these are
known.

A rank's environment has what torchrun would set, so that `torch.distributed` finds its peers by `env://`,
and what `jax.distributed.initialize()` looks for. Rank 0's monitor finds a free port for each.

Sources: torch/distributed/run.py, "Environment Variables"; jax/_src/clusters/ompi_cluster.py, which
recognises Open MPI 4's `mpiexec` by the address of its launcher.
"""

from __future__ import annotations

from cmpi._core.job.job_actions import BeginProcess, Tell
from cmpi._core.protocol import process_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._core.job.process_record import Process

LOOPBACK = "127.0.0.1"


def environment(hosts: list[str], rank: int, address: str, port: int) -> list[str]:
    """The environment variables of a rank, unless the user has set them.

    Args:
        hosts: The host of each rank.
        rank: The rank that the variables are for.
        address: The address at which the others reach rank 0.
        port: A free port there; the next port is free too.

    >>> environment(["a", "a", "b"], 1, "a", 20000)[:5]
    ['RANK=1', 'WORLD_SIZE=3', 'LOCAL_RANK=1', 'LOCAL_WORLD_SIZE=2', 'GROUP_RANK=0']
    """
    here = hosts[rank]
    local, together = hosts[:rank].count(here), hosts.count(here)
    group = list(dict.fromkeys(hosts)).index(here)
    return [
        f"RANK={rank}",
        f"WORLD_SIZE={len(hosts)}",
        f"LOCAL_RANK={local}",
        f"LOCAL_WORLD_SIZE={together}",
        f"GROUP_RANK={group}",
        f"MASTER_ADDR={address}",
        f"MASTER_PORT={port}",
        f"JAX_COORDINATOR_ADDRESS={address}:{port + 1}",
        f"OMPI_MCA_orte_hnp_uri=0.0;tcp://{address}:{port + 1}",
        f"OMPI_COMM_WORLD_RANK={rank}",
        f"OMPI_COMM_WORLD_SIZE={len(hosts)}",
        f"OMPI_COMM_WORLD_LOCAL_RANK={local}",
        f"OMPI_COMM_WORLD_LOCAL_SIZE={together}",
        f"SLURM_PROCID={rank}",
        f"SLURM_LOCALID={local}",
        f"SLURM_NODEID={group}",
    ]


class WorldStarts:
    """Lets the processes of each start begin. Methods are events and return actions.

    Args:
        address: The address of a host, by its name.
    """

    def __init__(self, address: Callable[[str], str]) -> None:
        self._address = address
        self._ports: dict[int, int] = {}  # by start: the port that its rank 0 has found

    def monitored(self, process: Process, port: int, world: list[Process]) -> list[BeginProcess | Tell]:
        """A monitor is ready; rank 0's has found this free port."""
        if process.rank == 0:
            self._ports[process.start] = port
        waiting = world if process.rank == 0 else [process]
        return [action for one in waiting if one.monitored for action in self.begin(one, world)]

    def begin(self, process: Process, world: list[Process]) -> list[BeginProcess | Tell]:
        """Have a process begin, and give it its closure if it has joined; not while its world lacks a port.

        A process that was spawned alone belongs to no world, and needs no port.
        """
        alone = not process.is_rank and len(world) == 1
        if process.status is not None or (not alone and process.start not in self._ports):
            return []
        settings = [] if alone else self._settings(process, world)
        actions: list[BeginProcess | Tell] = []
        if not process.begun:
            process.begun = True
            actions.append(BeginProcess(process.pid, settings))
        if process.joined and process.order is not None:
            order, process.order = process.order, None
            closure = process_root.Closure(order.closure, order.context, order.inline, settings)
            actions.append(Tell(process.pid, closure))
        return actions

    def forget(self, start: int) -> None:
        """Forget a start whose processes have all ended."""
        self._ports.pop(start, None)

    def _settings(self, process: Process, world: list[Process]) -> list[str]:
        hosts = [one.host for one in world]
        address = self._address(hosts[0]) or hosts[0] if len(set(hosts)) > 1 else LOOPBACK
        return environment(hosts, process.rank, address, self._ports[process.start])
