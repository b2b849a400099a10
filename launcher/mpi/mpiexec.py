"""Builds mpiexec's command line and environment, for each MPI. Pure.

Each flag has its reason below. The user's own settings, in the environment or with --mpi-args, take
precedence, except for the choice of hosts: `pinned` says why.
"""

from __future__ import annotations

from cmpi.launcher.mpi.find_mpi import Mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOTS = 2  # the root and the spawn completer


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
        # With User-Level Failure Mitigation, other processes survive the death of a spawned one.
        argv += ["--with-ft", "ulfm"]
        # On a laptop, 8 ranks should run on 2 cores; spawned worlds inherit this.
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
    local: str = "",
    address: str = "",
) -> list[str]:
    """The argv that starts ranks as one world on these hosts, in the given order and numbers; the name ""
    alone stands for this host.

    `local` is what the job calls this host, and `address` what the others call it, if that is known:
    Hydra's proxies there connect to it, and its own name may resolve nowhere.

    >>> world = [("a", 2), ("b", 1)], {"a": ["p"], "b": ["q"]}
    >>> world_command(Mpi("mpich", "mpiexec"), *world, ["-v"], {}, superuser=False)
    ['mpiexec', '-hosts', 'a:2,b:1', '-v', '-n', '2', 'p', ':', '-n', '1', 'q']
    >>> world_command(Mpi("mpich", "mpiexec"), [("", 2)], {"": ["p"]}, [], {}, superuser=False)
    ['mpiexec', '-n', '2', 'p']
    """
    named = [(host, n) for host, n in hosts if host]
    argv = [mpi.mpiexec]
    if mpi.kind == "openmpi":
        argv += ["--allow-run-as-root"] if superuser else []
        if "PRTE_MCA_rmaps_default_mapping_policy" not in environment:
            argv += ["--map-by", ":OVERSUBSCRIBE"]
        if "PRTE_MCA_hwloc_default_binding_policy" not in environment:
            argv += ["--bind-to", "none"]
    else:
        argv += ["-localhost", address] if address else []
        called = [(address if address and host == local else host, n) for host, n in named]
        argv += ["-hosts", ",".join(f"{host}:{n}" for host, n in called)] if named else []
    argv += mpi_args
    for i, (host, n) in enumerate(hosts):
        where = ["--host", f"{host}:{n}"] if host and mpi.kind == "openmpi" else []
        argv += [*([":"] if i else []), "-n", str(n), *where, *programs[host]]
    return argv


def pinned(mpi: Mpi, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of an mpiexec that starts processes on its own host only.

    cmpirun decides where processes run, so this hides any batch system's allocation and any list of hosts
    that the given environment names.
    """
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
    """The settings to add for each mpiexec of a job on several hosts; `rsh` replaces ssh."""
    if mpi.kind == "openmpi":
        return {
            "PRTE_MCA_plm_ssh_agent": rsh,
            "PRTE_MCA_plm_ssh_no_tree_spawn": "1",  # only cmpirun's own host can reach the others
        }
    return {"HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": rsh}


def rank_settings(mpi: Mpi, mpi_args: list[str]) -> list[str]:
    """Environment settings for the ranks of the job's world only, as "NAME=value".

    They switch ULFM off: with it, MPIX_Comm_shrink and _revoke of intercommunicators hang now and then
    (Open MPI 5.0.11), and the ranks of one world end together anyway.
    """
    if mpi.kind == "openmpi" and "--with-ft" not in mpi_args:
        return ["OMPI_MCA_mpi_ft_enable=0"]
    return []


def settings(
    mpi: Mpi, environment: Mapping[str, str], job_folder: str, shared_memory: str, rdma: bool
) -> dict[str, str]:
    """The settings to add to the environment of mpiexec.

    Args:
        mpi: The MPI in use.
        environment: The user's own; variables that it sets are not changed.
        job_folder: A folder of this job, removed at its end.
        shared_memory: Another one, in /dev/shm if that has enough room.
        rdma: Whether this host has an RDMA network card.
    """
    wanted: dict[str, str] = {}
    if mpi.kind == "openmpi":
        # The OFI BTL queries the speed of every network card, and sleeps a second for it.
        wanted["OMPI_MCA_btl"] = "^ofi"
        # ULFM's agreement trees take 3 MB and 2 ms in each process. Under load they waited for ever if a
        # process died while others connected to it. Without them the base component's own are used.
        wanted["OMPI_MCA_coll"] = "^ftagree"
        # Files of killed ranks are removed with the job's folders instead of staying in /dev/shm.
        wanted["OMPI_MCA_btl_sm_backing_directory"] = shared_memory
        wanted["PRTE_MCA_prte_tmpdir_base"] = job_folder
        wanted["PRTE_MCA_rmaps_default_inherit"] = "1"
        # PMIx's other data store, in shared memory ("gds/shmem2" of PMIx 4.2), fails between 260 and 300
        # live processes, and ends the job.
        wanted["PMIX_MCA_gds"] = "hash"
    elif not shared_memory.startswith("/dev/shm/"):  # /dev/shm is small
        # UCX needs 4 MiB for each process, which need not be in /dev/shm. MPICH needs 2 MiB of /dev/shm
        # for each world, or 280 KiB with 8 cells.
        wanted["UCX_POSIX_DIR"] = shared_memory
        wanted["MPIR_CVAR_CH4_SHM_POSIX_IQUEUE_NUM_CELLS"] = "8"
    if not rdma:
        # UCX patches the memory functions of every process, which takes 40 ms, for a registration cache
        # that only network cards need.
        wanted["UCX_MEM_MMAP_HOOK_MODE"] = "none"
        # UCX would set up two kinds of shared memory, with 2 MB each in every process; one is enough. With
        # none, killed processes would do less harm: all senders to a process share one queue there, and a
        # sender that dies between taking its place and filling it seems to block the queue for all. But
        # over TCP (MPICH 5.0.2's wheel) one or two processes of a thousand crashed without being killed.
        wanted["UCX_TLS"] = "^sysv"
        # The newer protocol selection compares all protocols for every process and peer, 2 ms each. That
        # pays off with network cards; without them the older one is as fast or faster.
        wanted["UCX_PROTO_ENABLE"] = "n"
    # UCX logs to stdout, into the program's own output: warnings when processes end, and errors when a
    # peer has died, which MPI and cmpi report themselves.
    wanted["UCX_LOG_LEVEL"] = "fatal"
    return {name: value for name, value in wanted.items() if name not in environment}
