"""Plans a job before anything starts. Pure.

`--dry-run` shows the same plan that a run carries out.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.scheduling.placement import HostSlots, place_ranks
from cmpi._runtime import environment as names
from cmpi.launcher.mpi import mpiexec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmpi.launcher.config import LaunchConfig
    from cmpi.launcher.mpi.find_mpi import Mpi


@frozen
class PlannedHost:
    """A host and the resources that the job may use there."""

    name: str
    slots: int
    cpu_units: int
    memory_bytes: int
    max_slots: int = 0  # 0: no limit


@frozen
class Here:
    """Facts about this cmpirun and its host."""

    environment: Mapping[str, str]
    python: str
    root_main: str  # the path of the root's program
    stub: list[str]  # the command of the program that becomes the monitor of a rank
    certain_mpi: bool  # whether mpi4py surely loads the library of the mpiexec
    path: list[str]  # sys.path
    superuser: bool
    rdma: bool  # whether there is an RDMA network card
    open_files: int  # the user's own soft limit
    folder: str  # the job's folder
    shared_memory: str  # the job's folder in /dev/shm, if that has enough room


@frozen
class LaunchPlan:
    """The mpiexec that starts the root, and the one that starts the ranks; for ranks on several hosts, the
    root asks for the latter (see `MultiHost`)."""

    argv: list[str]  # the command of each rank
    hosts: list[PlannedHost]  # empty: only this host
    where: list[str]  # the host of each rank; "": this host
    mpiexec: list[str]
    world: list[str]  # empty: no ranks, or several hosts
    environment: dict[str, str]  # of both, and therefore of the ranks
    rank_settings: list[str]  # "NAME=value", for the ranks only

    def ranks_on(self, host: str) -> list[int]:
        """The ranks that run there."""
        return [rank for rank, at in enumerate(self.where) if at == host]


def plan(config: LaunchConfig, mpi: Mpi, hosts: list[PlannedHost], here: Here) -> LaunchPlan:
    """Return the plan for these options. Raises: UsageError: There are more ranks than the hosts accept."""
    slots = [HostSlots(host.name, host.slots, host.max_slots) for host in hosts]
    where = place_ranks(config.n, slots, config.map_by) if hosts else [""] * config.n
    settings = mpiexec.settings(mpi, here.environment, here.folder, here.shared_memory, rdma=here.rdma)
    ours = {
        names.JOB: here.folder,
        names.SHARED_MEMORY: here.shared_memory,
        names.MPI: mpi.kind,
        names.OPEN_FILES: str(here.open_files),
        names.PATH: ":".join(here.path),
        **({names.BATCH: "1"} if "SLURM_JOB_ID" in here.environment else {}),
        **({} if here.certain_mpi else {names.CHECK_MPI: "1"}),
    }
    root = [here.python, "-I", "-S", here.root_main]
    command = mpiexec.command(mpi, root, config.mpi_args, here.environment, superuser=here.superuser)
    world = list[str]()
    if where and not hosts:
        world = mpiexec.world_command(
            mpi,
            [("", config.n)],
            {"": here.stub},
            config.mpi_args,
            here.environment,
            superuser=here.superuser,
        )
    return LaunchPlan(
        config.argv,
        hosts,
        where,
        command,
        world,
        mpiexec.pinned(mpi, {**here.environment, **settings, **ours}),
        mpiexec.rank_settings(mpi, config.mpi_args),
    )
