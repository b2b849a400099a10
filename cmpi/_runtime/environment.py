"""The environment variables of cmpi, and which process sets and reads each. No other file spells them out.

(`setup.py` reads CMPI_PURE, and the tests have variables of their own.)
"""

PREFIX = "CMPI_"  # of all of them; a monitor removes them before it starts the process

# Set by the user, read by cmpirun.
MPIEXEC = "CMPI_MPIEXEC"  # the mpiexec to use; --mpiexec wins
HOSTFILE = "CMPI_HOSTFILE"  # the hosts to run on; --hostfile wins

# Set by cmpirun for mpiexec, so visible to everything in the job except its processes.
JOB = "CMPI_JOB"  # the job's folder, with sockets and secret; read by all that connect to the root
MPI = "CMPI_MPI"  # "openmpi" or "mpich": which MPI mpiexec belongs to; read by the root
CHECK_MPI = "CMPI_CHECK_MPI"  # "1": mpi4py may load another MPI's library; read by the root
PATH = "CMPI_PATH"  # where cmpirun looks for modules; read by the root, its helper and its counterparts
OPEN_FILES = "CMPI_OPEN_FILES"  # the user's own limit of open files; read by monitors
BATCH = "CMPI_BATCH"  # "1" in a Slurm job, see `batch_end`; read by all of cmpi's own processes
HOST = "CMPI_HOST"  # the job's name for a host other than the root's; read by the root's helpers there

# Set for a process of the job, which removes them when it joins.
CONTROL = "CMPI_CONTROL"  # its control descriptor and that socket's inode; set by its monitor
SHARED_MEMORY = "CMPI_SHM"  # the job's folder in shared memory; set by cmpirun, read by the root too
SHIPPED = "CMPI_SHIPPED"  # a folder and, on the next line, its copy on hosts that lack it; set by a host's
# agent there, and by a deploying cmpirun for its ranks everywhere
WORLD = "CMPI_WORLD"  # names of the variables that describe its world; set by its monitor
OF_PROCESSES = (SHARED_MEMORY, SHIPPED)  # those of them that a monitor leaves in place

# Beginnings of the variables of MPI's launchers, which make a process part of an MPI world. Settings of
# Open MPI begin with the same prefix, but are meant for all processes.
OF_MPI = ("PMI_", "PMIX_", "OMPI_", "PRTE_", "OPAL_", "HYDI_", "HYDRA_", "MPI_LOCAL")
SETTINGS_OF_MPI = ("OMPI_MCA_", "PMIX_MCA_", "PRTE_MCA_", "OPAL_MCA_")

# Variables that describe a host or a login, and must keep the value of the host where the process runs.
OF_A_HOST = frozenset(
    (
        "HOME", "HOSTNAME", "LOGNAME", "SHELL", "USER", "XDG_RUNTIME_DIR", "XDG_SESSION_ID",
        "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY",
        "SLURMD_NODENAME", "SLURM_CPUS_ON_NODE", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_PROCID",
    )
)  # fmt: skip
