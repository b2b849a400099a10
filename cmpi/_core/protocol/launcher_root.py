"""Frames between cmpirun and the root: the order of a job, signals, hosts, output of MPI's launcher."""

from __future__ import annotations

from cmpi._core.protocol.monitor_root import OutputTaken
from cmpi._core.protocol.wire import U8, U32, U64, frame, keyword_frame, registry

# -- cmpirun -> root --------------------------------------------------------------------


FIRST_GUEST = (1 << 32) - 1  # as the keeper: the process that joins first


@keyword_frame
class LaunchJob:
    """The program to run and its settings; sent with the terminal's three descriptors, and the socket where
    the root is to listen."""

    argv: list[str]
    settings: list[str]  # "NAME=value", only for the ranks' environment
    where: list[str]  # the host of each rank
    cwd: str
    output: str
    colour: bool
    one_place: bool  # stdout and stderr are the same file or terminal
    verbosity: U8  # which starts and ends are shown, and how much is reported: see `output`
    output_dir: str
    cpu_units: U64  # 0: whatever this job may use
    memory_bytes: U64  # 0: whatever this job may use
    rank_cpu_units: U64  # the share that each rank holds
    shared_memory_bytes: U64  # that one process may use to send to another; 0: none
    enforce: str  # "none", "warn", "kill": see --enforce; "": per process
    check_deadlock: bool  # end the job when all its processes wait for each other
    here: str  # the name of the root's own host
    hosts: bytes  # HostIs frames; none: the root's own is all there is. Of a deployment: those with a copy
    deadline_s: float  # when the time limit ends the job, in seconds since 1970; 0: never
    report_mpi_waits_s: float  # how long all must have waited inside MPI; 0: never report it
    grace_s: float  # between the first signal and SIGKILL, when the user ends the job
    host_timeout_s: float  # how long a host may be silent, and a socket be missing; 0: the default
    strict: bool  # failures count even if another process has dealt with them
    standing: bool = False  # the job goes on without processes until it is interrupted
    keeper: U32 = 0  # the job ends with this outside process (the kernel's number, FIRST_GUEST); 0: none
    detached: bool = False  # it is deployed without a terminal; its output is kept
    inherited: list[str] = []  # names of the variables in cmpirun's own environment
    fabric: list[str] = []  # the hosts on which cmpirun starts fabric agents
    begun: bool = False  # cmpirun has started the ranks, all on its own host


@frame
class Interrupt:
    """The user wants the job to end, by this signal."""

    signal: U8


@frame
class ShowStacks:
    """The user wants to see what all processes do."""


@frame
class LauncherOutput:
    """Output to descriptor 1 or 2 of processes that the program itself started, by MPI_Comm_spawn."""

    fd: U8
    data: bytes


@frame
class AllOutput:
    """The answer to AskOutput: no more output for now."""


@keyword_frame
class HostIs:
    """A host that processes may be placed on; part of LaunchJob and of HostBack.

    A `python` of "" is the spawning process's interpreter. `cpu_units` and `memory_bytes` of 0 stand for
    what the host allows; for the root's own host only the root can tell. `address` has all addresses by
    which other hosts may reach it, separated by blanks, the most promising first.
    """

    name: str
    address: str
    python: str
    cwd: list[str]  # none: the job's own
    argv: list[str]  # what a rank runs there; none: as on other hosts
    cpu_units: U64
    memory_bytes: U64
    cores: list[U64]


@frame
class HostLost:
    """A host is out of reach, with all its processes."""

    name: str
    reason: str


@frame
class HostBack:
    """A lost host, or a new one, can be used: its HostIs."""

    host: bytes


@frame
class WorldFailed:
    """The ranks of this start could not be started."""

    start: U32
    reason: str


@frame
class FabricFailed:
    """There will be no fabric agents any more."""

    reason: str


# -- root -> cmpirun --------------------------------------------------------------------


@frame
class Final:
    """All output is printed; this is cmpirun's exit code."""

    code: U8


@frame
class TakesGuests:
    """The root listens: guests may join."""


@frame
class AskOutput:
    """The job is over: send the remaining LauncherOutput."""


@frame
class HostForgotten:
    """The answer to HostLost: connections from that host may be closed."""

    name: str


@frame
class NeedHostSpawner:
    """Start a host spawner on that host."""

    host: str


@frame
class StartWorld:
    """Start ranks on several hosts, as one world; `hosts` has the host of each."""

    start: U32
    hosts: list[str]


TO_ROOT = registry(
    {
        1: LaunchJob,
        2: Interrupt,
        4: ShowStacks,
        5: LauncherOutput,
        6: AllOutput,
        113: HostLost,
        114: WorldFailed,
        125: HostBack,
        184: FabricFailed,
    }
)
TO_LAUNCHER = registry(
    {
        3: Final,
        7: AskOutput,
        22: OutputTaken,
        115: HostForgotten,
        116: NeedHostSpawner,
        117: StartWorld,
        135: TakesGuests,
    }
)
HOSTS = registry({112: HostIs})  # in LaunchJob.hosts and HostBack.host
