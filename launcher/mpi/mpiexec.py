"""The command line and environment of the one mpiexec, for each MPI. Pure.

Each flag has its reason below. A person's own setting of the same thing, in the environment or
with --mpi-args, wins, but for the hosts: `pinned` says why.
"""

from __future__ import annotations

from cmpi.launcher.mpi.find_mpi import Mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOTS = 2  # the root rank and its usher


def command(
    mpi: Mpi, program: list[str], mpi_args: list[str], environment: Mapping[str, str], *, superuser: bool
) -> list[str]:
    """The argv that starts the root.

    >>> command(Mpi("mpich", "/opt/mpich/bin/mpiexec"), ["prog"], ["-v"], {}, superuser=False)
    ['/opt/mpich/bin/mpiexec', '-v', '-n', '2', 'prog']
    """
    argv = [mpi.mpiexec]
    if mpi.kind == "openmpi":
        if superuser:
            argv.append("--allow-run-as-root")
        # So that a spawned process that dies harms nobody else (User-Level Failure Mitigation).
        argv += ["--with-ft", "ulfm"]
        # A person on a laptop expects 8 ranks to run on 2 cores; spawned worlds inherit this.
        if "PRTE_MCA_rmaps_default_mapping_policy" not in environment:
            argv += ["--map-by", ":OVERSUBSCRIBE"]
        if "PRTE_MCA_hwloc_default_binding_policy" not in environment:
            argv += ["--bind-to", "none"]
    return [*argv, *mpi_args, "-n", str(ROOTS), *program]


def world_command(
    mpi: Mpi,
    hosts: list[tuple[str, int]],
    programs: dict[str, list[str]],
    mpi_args: list[str],
    environment: Mapping[str, str],
    *,
    superuser: bool,
) -> list[str]:
    """The argv that starts ranks on several hosts as one world: so many on each, in that order.

    >>> world = [("a", 2), ("b", 1)], {"a": ["p"], "b": ["q"]}
    >>> world_command(Mpi("mpich", "mpiexec"), *world, ["-v"], {}, superuser=False)
    ['mpiexec', '-hosts', 'a:2,b:1', '-v', '-n', '2', 'p', ':', '-n', '1', 'q']
    """
    argv = [mpi.mpiexec]
    if mpi.kind == "openmpi":
        argv += ["--allow-run-as-root"] if superuser else []
        if "PRTE_MCA_rmaps_default_mapping_policy" not in environment:
            argv += ["--map-by", ":OVERSUBSCRIBE"]
        if "PRTE_MCA_hwloc_default_binding_policy" not in environment:
            argv += ["--bind-to", "none"]
    else:
        argv += ["-hosts", ",".join(f"{host}:{n}" for host, n in hosts)]
    argv += mpi_args
    for i, (host, n) in enumerate(hosts):
        where = ["--host", f"{host}:{n}"] if mpi.kind == "openmpi" else []
        argv += [*([":"] if i else []), "-n", str(n), *where, *programs[host]]
    return argv


def pinned(mpi: Mpi, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of an mpiexec that starts processes on its own host, whatever allocation of a batch
    system or list of hosts the given one names: where processes go, cmpirun decides."""
    if mpi.kind == "openmpi":
        own_host = {
            "PRTE_MCA_ras": "^slurm,pbs,tm,lsf,gridengine,flux,pals",  # the readers of allocations
            "PRTE_MCA_plm": "ssh",
            "PRTE_MCA_prte_default_hostfile": "none",
        }
    else:
        own_host = {"HYDRA_RMK": "user", "HYDRA_LAUNCHER": "fork"}
    return {name: value for name, value in environment.items() if name != "HYDRA_HOST_FILE"} | own_host


def several_settings(mpi: Mpi, rsh: str) -> dict[str, str]:
    """What to add to the environment of each mpiexec of a job on several hosts: `rsh` is what it is to take
    for ssh."""
    if mpi.kind == "openmpi":
        return {
            "PRTE_MCA_plm_ssh_agent": rsh,
            "PRTE_MCA_plm_ssh_no_tree_spawn": "1",  # only cmpirun's own host has the way to the others
        }
    return {"HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": rsh}


def rank_settings(mpi: Mpi, mpi_args: list[str]) -> list[str]:
    """What to set for the ranks of the job's world alone, as "NAME=value".

    With ULFM on, MPIX_Comm_shrink and _revoke of intercommunicators hang now and then (Open MPI 5.0.11),
    and the ranks of one world fall together all the same.
    """
    if mpi.kind == "openmpi" and "--with-ft" not in mpi_args:
        return ["OMPI_MCA_mpi_ft_enable=0"]
    return []


def settings(
    mpi: Mpi, environment: Mapping[str, str], job_folder: str, shared_memory: str, rdma: bool
) -> dict[str, str]:
    """What to add to the environment of mpiexec.

    Args:
        mpi: The MPI in use.
        environment: The person's own; what it sets is not touched.
        job_folder: A folder of this job, removed at its end.
        shared_memory: Likewise, in memory where there is such a place.
        rdma: Whether this host has an RDMA network card.
    """
    wanted: dict[str, str] = {}
    if mpi.kind == "openmpi":
        # Its OFI BTL asks every network card for its speed and sleeps a second meanwhile.
        wanted["OMPI_MCA_btl"] = "^ofi"
        # ULFM's agreement trees: 3 MB and 2 ms in each process, and under load they waited for ever,
        # where a process had died while it was being connected to; without, the base's own serve.
        wanted["OMPI_MCA_coll"] = "^ftagree"
        # What a killed rank leaves goes with the job's folders instead of staying in /dev/shm.
        wanted["OMPI_MCA_btl_sm_backing_directory"] = shared_memory
        wanted["PRTE_MCA_prte_tmpdir_base"] = job_folder
        wanted["PRTE_MCA_rmaps_default_inherit"] = "1"
        # The other way of keeping what processes ask the launcher for, in memory that they share, fails
        # between 260 and 300 processes alive, and the job with it (PMIx 4.2, "gds/shmem2").
        wanted["PMIX_MCA_gds"] = "hash"
    elif not shared_memory.startswith("/dev/shm/"):  # it is small
        # UCX takes 4 MiB for each process and can take them elsewhere. MPICH takes 2 MiB of /dev/shm for
        # each world, or 280 KiB with 8 cells.
        wanted["UCX_POSIX_DIR"] = shared_memory
        wanted["MPIR_CVAR_CH4_SHM_POSIX_IQUEUE_NUM_CELLS"] = "8"
    if not rdma:
        # UCX patches the memory functions of every process, 40 ms each, for the sake of the
        # registration cache of network cards that are not there.
        wanted["UCX_MEM_MMAP_HOOK_MODE"] = "none"
        # It would set up two kinds of shared memory, 2 MB each in every process; one is enough. None would
        # be better for those that are killed: all senders to a process share one queue there, and one
        # that dies between taking its place and filling it seems to stop it for all. But by TCP (MPICH
        # 5.0.2's wheel) processes that nobody killed crashed, one or two of a thousand.
        wanted["UCX_TLS"] = "^sysv"
        # The newer way of choosing protocols compares them all for every process and every peer, 2 ms
        # each, which pays with network cards; without, the older one is as fast or faster.
        wanted["UCX_PROTO_ENABLE"] = "n"
    # It writes to stdout, into the program's own output: warnings at the end of processes, and errors
    # when a peer has died, of which MPI and we tell in our own ways.
    wanted["UCX_LOG_LEVEL"] = "fatal"
    return {name: value for name, value in wanted.items() if name not in environment}
