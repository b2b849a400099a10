"""The options of one cmpirun, as a record."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.job.kill_timers import GRACE_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.slurm.script import BatchOptions

SHARED_MEMORY_BYTES = 128 << 20


@frozen
class LaunchConfig:
    """The options of cmpirun, checked."""

    argv: list[str]
    n: int = 1
    hostfile: str = ""  # "", and no `host`: this host
    host: str = ""
    map_by: str = "slot"
    ship: str = ""  # the folder to send to all hosts; "": the program's, to hosts that lack it
    ssh: list[str] = ["ssh"]
    ssh_timeout_s: float = 0.0  # 0: the default
    host_timeout_s: float = 0.0  # 0: the default
    fabric: str = "tcp"  # "tcp", "mpi" or "auto": the way of channels between hosts
    interface: str = ""  # the network interface or network between hosts; "": any
    output: str = "human"
    output_dir: str = ""
    colour: str = "auto"
    cpu_units: int = 0  # 0: all that this job may use
    memory_bytes: int = 0  # 0: all that this job may use
    rank_cpu_units: int = 0  # reserved for each rank
    shared_memory_bytes: int = SHARED_MEMORY_BYTES  # 0: none
    enforce: str = ""  # "": as the processes asked
    check_deadlock: bool = True
    report_mpi_waits_s: float = 60.0  # report waits inside MPI after this time; 0: never
    grace_s: float = GRACE_S  # between the first signal and SIGKILL
    strict: bool = False  # failures count even if the program has dealt with them
    mpiexec: str = ""  # "": look for one
    mpi_args: list[str] = []
    quiet: bool = False
    verbose: bool = False
    version: bool = False
    batch: BatchOptions | None = None  # submit to Slurm with these options
    inner: list[str] = []  # the options of the cmpirun in the batch job, or elsewhere
    elsewhere: str = ""  # the machine, for ssh, on which another cmpirun does all this
    relay: str = ""  # the job there that a guest joins
    via: str = ""  # what the user there puts before names of jobs here: "HOST:"
    dry_run: bool = False
    doctor: bool = False
    add_host: str = ""  # hosts to add to the running `job`
    add_slurm: int = 0  # how many nodes of another allocation to add to the running `job`
    jobs: bool = False  # list the jobs that run here
    into: str = ""  # the name of the job to deploy the program into
    stop: str = ""  # the name of the job to end
    serve: bool = False  # start a job without a program, for guests
    name: str = ""  # the job's name; "": the name of its folder
    keeper: tuple[int, int] = (
        0,
        -1,
    )  # a process whose end ends such a job; the descriptor that reports "up"
    job: str = ""
    submit: bool = False  # with --doctor: submit a tiny batch job
    json: bool = False
    detach: bool = False
    on_interrupt: str = "ask"
    about_job: tuple[str, str] | None = (
        None  # "attach", "status", "logs", "cancel" or "clean", and its value
    )
