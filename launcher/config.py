"""What the person asked for."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.job.kill_timers import GRACE_S
from cmpi.launcher.slurm.script import Batch

SHARED_MEMORY_BYTES = 128 << 20


@frozen
class LaunchConfig:
    """The options of cmpirun, checked."""

    argv: list[str]
    n: int = 1
    hostfile: str = ""  # "", and no `host`: this host
    host: str = ""
    map_by: str = "slot"
    ship: str = ""  # a folder to send to all hosts; "": the program's, to those that lack it
    ssh: list[str] = ["ssh"]
    ssh_timeout_s: float = 0.0  # 0: the default
    host_timeout_s: float = 0.0  # 0: the default
    output: str = "human"
    output_dir: str = ""
    colour: str = "auto"
    cpu_units: int = 0  # 0: what this job may use
    memory_bytes: int = 0  # 0: likewise
    rank_cpu_units: int = 0  # that each rank holds of them
    shared_memory_bytes: int = SHARED_MEMORY_BYTES  # 0: none
    enforce: str = ""  # "": as the processes asked
    check_deadlock: bool = True
    report_mpi_waits_s: float = 60.0  # after which waits inside MPI are reported; 0: never
    grace_s: float = GRACE_S  # between the first signal and SIGKILL
    strict: bool = False  # a failure counts though the program has dealt with it
    mpiexec: str = ""  # "": look for one
    mpi_args: list[str] = []
    quiet: bool = False
    verbose: bool = False
    version: bool = False
    batch: Batch | None = None  # submit to Slurm, with this
    inner: list[str] = []  # the options of the cmpirun in the batch job
    dry_run: bool = False
    doctor: bool = False
    add_host: str = ""  # to the running `job`
    jobs: bool = False  # show those that run here
    stop: str = ""  # the one of this name
    serve: bool = False  # a job without a program, for guests
    name: str = ""  # of the job; "": that of its folder
    keeper: tuple[int, int] = (0, -1)  # the process with which such a job ends; where to say that it is up
    job: str = ""
    submit: bool = False  # the doctor, a tiny batch job
    json: bool = False
    detach: bool = False
    on_interrupt: str = "ask"
    about_job: tuple[str, str] | None = None  # what to do with a batch job: "attach", ..., and its id
